"""Addresses that cannot be read here: what to install, and what is no address; servers that know no ranges."""

import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import uproot

from darkop_dist.config import DatasetRecord
from darkop_dist.errors import DamagedFileError, InputFileError
from darkop_dist.events.read import inspect_file

RECORD = DatasetRecord(name="a", kind="data", files=("x",))


@pytest.mark.parametrize(
    ("address", "library", "extra"),
    [
        ("root://a.org//f.root", "XRootD.client", "access"),
        ("roots://a.org//f.root", "XRootD.client", "access"),
        ("s3://bucket/f.root", "s3fs", "access"),
        ("https://a.org/f.root", "aiohttp", "events"),
    ],
)
def test_a_missing_library_is_named_with_the_extra(
    monkeypatch: pytest.MonkeyPatch, address: str, library: str, extra: str
) -> None:
    for name in (library, "fsspec.implementations.http"):
        monkeypatch.setitem(sys.modules, name, None)
    for scheme in ("s3", "https"):
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme, raising=False)
    with pytest.raises(InputFileError, match="needs a library that is not installed") as caught:
        inspect_file(address, RECORD)
    assert str(caught.value).endswith(f"Run: pip install 'darkop-dist[{extra}]'")


def test_an_unknown_kind_of_address() -> None:
    with pytest.raises(
        InputFileError, match=r"is an address of an unknown kind, gopher://\. Addresses begin with root://"
    ):
        inspect_file("gopher://a.org/f.root", RECORD)


def test_a_server_that_knows_no_ranges_and_a_short_file(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root", compression=None) as file:
        file["Events"] = {"x": np.arange(1000.0)}
    content = (tmp_path / "a.root").read_bytes()
    (tmp_path / "short.root").write_bytes(content[:-50])
    handler = partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            with pytest.raises(InputFileError, match=f"sends {len(content)} bytes where .* it ignores ranges"):
                inspect_file(f"http://127.0.0.1:{server.server_address[1]}/a.root", RECORD)
        finally:
            server.shutdown()
            thread.join()
    with pytest.raises(
        DamagedFileError, match=f"truncated at {len(content) - 50} bytes: its header says {len(content)}"
    ):
        inspect_file(str(tmp_path / "short.root"), RECORD)


class Quiet(SimpleHTTPRequestHandler):
    """Python's own server, which sends whole files."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""
