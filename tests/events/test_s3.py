"""Reading from an S3 service: credentials, public buckets, numbers and deadlines."""

import errno
import gc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from darkop_dist.config.access import S3, Access
from darkop_dist.events.remote import fetch, open_root

s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("s3")
    with uproot.recreate(folder / "a.root") as file:
        file.mktree("Events", {"mass": np.dtype("f8")})
        file["Events"].extend({"mass": np.arange(5000.0)})
    (folder / "a.csv").write_text("x,y\n1,2\n3,4\n")
    return folder


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """No credentials but those that a test gives."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    yield monkeypatch
    s3fs.S3FileSystem.clear_instance_cache()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # s3fs gives a session 0.1 s to close, a busy machine may not
        gc.collect()


def mass(url: str, access: Access) -> Any:
    with open_root(url, access) as file:
        return file["Events"]["mass"].array(library="np")


def test_credentials_come_from_the_environment(
    folder: Path, s3_server: Callable[..., Any], environment: pytest.MonkeyPatch
) -> None:
    bucket = s3_server(folder)
    access = Access(s3=S3(endpoint=bucket.endpoint), timeout_s=10)
    with pytest.raises(PermissionError, match=r"wants credentials.*AWS_ACCESS_KEY_ID.*access.s3.anonymous"):
        mass(bucket.url("a.root"), access)
    environment.setenv("AWS_ACCESS_KEY_ID", bucket.key)
    environment.setenv("AWS_SECRET_ACCESS_KEY", bucket.secret)
    s3fs.S3FileSystem.clear_instance_cache()
    assert np.array_equal(mass(bucket.url("a.root"), access), np.arange(5000.0))
    assert fetch(bucket.url("a.csv"), access).read() == (folder / "a.csv").read_bytes()
    environment.setenv("AWS_ENDPOINT_URL", bucket.endpoint)
    assert np.array_equal(mass(bucket.url("a.root"), Access()), np.arange(5000.0))
    for name in (bucket.url("none.root"), "s3://no-such-bucket/a.root"):
        with pytest.raises(FileNotFoundError, match="no such file on the server") as caught:
            mass(name, access)
        assert caught.value.errno == errno.ENOENT


def test_public_buckets_need_no_credentials(
    folder: Path, s3_server: Callable[..., Any], environment: pytest.MonkeyPatch
) -> None:
    public, private = s3_server(folder, public=True), s3_server(folder)
    access = Access(s3=S3(endpoint=public.endpoint, anonymous=True))
    assert np.array_equal(mass(public.url("a.root"), access), np.arange(5000.0))
    with pytest.raises(PermissionError, match="the server refuses the file") as caught:
        mass(private.url("a.root"), access)
    assert caught.value.errno == errno.EACCES


def test_silence_and_change(
    folder: Path, s3_server: Callable[..., Any], relay_to: Callable[[int], Any], environment: pytest.MonkeyPatch
) -> None:
    bucket = s3_server(folder, public=True)
    relay = relay_to(int(bucket.endpoint.rpartition(":")[2]))
    access = Access(s3=S3(endpoint=f"http://127.0.0.1:{relay.port}", anonymous=True), timeout_s=3.0)
    with open_root(bucket.url("a.root"), access) as file:
        assert not file.file.source.has_changed()
        relay.stall()
        with pytest.raises(TimeoutError, match=r"s3://.*a\.root does not answer in time"):
            file["Events"]["mass"].array()
        relay.resume()
        bucket.client.put_object(Bucket=bucket.name, Key="a.root", Body=b"other", ACL="public-read")
        assert file.file.source.has_changed()
