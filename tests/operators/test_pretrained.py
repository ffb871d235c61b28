"""Models by name, directory and address; the server is a real one with TLS on this machine."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import shutil
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkop_dist.errors import FingerprintError, InputFileError, InputValueError, UnknownNameError
from darkop_dist.operators.calorimeter import checkpoint as calorimeter
from darkop_dist.operators.checkpoint import Checkpoint, find_checkpoint
from darkop_dist.operators.pretrained import from_pretrained

SHOWERS = calorimeter.PACKAGED / "calorimeter-v1"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server without a log."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, loopback_certificate: Path) -> Iterator[tuple[str, Path]]:
    """Address and folder of a server whose certificate this process trusts."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(SHOWERS, folder / "calorimeter-v1")
    shutil.copytree(find_checkpoint("cylinder-fno-v1"), folder / "cylinder-fno-v1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(loopback_certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(loopback_certificate))
        yield f"https://127.0.0.1:{server.server_address[1]}", folder
    server.shutdown()
    server.server_close()
    thread.join()


def hash_of(directory: Path) -> str:
    return hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()


def test_packaged_names_of_both_kinds() -> None:
    assert isinstance(from_pretrained("calorimeter-v1"), calorimeter.CalorimeterCheckpoint)
    assert isinstance(from_pretrained("cylinder-fno-v1"), Checkpoint)
    with pytest.raises(UnknownNameError, match=r"calorimeter-v1, cylinder-fno-v1"):
        from_pretrained("calorimeter-v9")


def test_packaged_weights_are_small() -> None:
    room = Path(calorimeter.__file__).parents[1]
    assert sum(path.stat().st_size for path in room.glob("**/model.safetensors")) < 5_000_000


def test_a_directory_with_its_hash(tmp_path: Path) -> None:
    copy = shutil.copytree(SHOWERS, tmp_path / "copy")
    found = from_pretrained(copy, sha256=hash_of(copy).upper())
    assert found.card.fingerprint == from_pretrained("calorimeter-v1").card.fingerprint
    with pytest.raises(FingerprintError, match="asked for 000000000000"):
        from_pretrained(copy, sha256="0" * 64)
    with pytest.raises(InputValueError, match="64 hexadecimal digits"):
        from_pretrained(copy, sha256="abc")


@pytest.mark.parametrize("name", ["calorimeter-v1", "cylinder-fno-v1"])
def test_an_address_gives_the_same_model(served: tuple[str, Path], name: str) -> None:
    address, folder = served
    found = from_pretrained(f"{address}/{name}/", sha256=hash_of(folder / name))
    assert found.card == from_pretrained(name).card


def test_addresses_that_are_refused(served: tuple[str, Path]) -> None:
    address, _ = served
    with pytest.raises(InputValueError, match=r"Give the SHA-256 of its model\.safetensors"):
        from_pretrained(f"{address}/calorimeter-v1")
    with pytest.raises(InputValueError, match="is no https address"):
        from_pretrained("http://localhost/calorimeter-v1", sha256="0" * 64)
    with pytest.raises(FingerprintError, match=r"calorimeter-v1/model\.safetensors: SHA-256"):
        from_pretrained(f"{address}/calorimeter-v1", sha256="0" * 64)
    with pytest.raises(InputFileError, match=r"cannot be fetched \(HTTP Error 404"):
        from_pretrained(f"{address}/absent", sha256="0" * 64)


def test_a_server_of_an_unknown_authority_is_refused(served: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(InputFileError, match="certificate verify failed"):
        from_pretrained(f"{served[0]}/calorimeter-v1", sha256="0" * 64)


def test_weights_and_cards_that_are_something_else(tmp_path: Path) -> None:
    pickled = shutil.copytree(SHOWERS, tmp_path / "pickled")
    (pickled / "model.safetensors").write_bytes(b"\x80\x04\x95pickled")
    with pytest.raises(InputFileError, match="not the weights of this card"):
        from_pretrained(pickled)
    newer = shutil.copytree(SHOWERS, tmp_path / "newer")
    card = json.loads((newer / "card.json").read_text())
    (newer / "card.json").write_text(json.dumps({**card, "schema_version": 2}))
    with pytest.raises(InputFileError, match="schema_version"):
        from_pretrained(newer)
    (newer / "card.json").write_text("[]")
    with pytest.raises(InputFileError, match="not a card"):
        from_pretrained(newer)
