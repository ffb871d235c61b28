"""Reading over HTTPS from a real server, whose certificate counts."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

READ = """
import sys
from darkop_dist.events.remote import open_root
with open_root(sys.argv[1]) as file:
    print(file["Events"]["x"].array(library="np").sum())
"""


@pytest.fixture
def server(tmp_path: Path, loopback_certificate: Path, serve_flaky: Callable[..., Any]) -> Iterator[Any]:
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("Events", {"x": np.dtype("f8")})
        file["Events"].extend({"x": np.arange(100.0)})
    with serve_flaky(tmp_path, loopback_certificate) as found:
        yield found


def read(server: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, since Python's clients look for authorities once."""
    command = [sys.executable, "-c", READ, server.url("a.root")]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=100
    )


def test_ranges_come_encrypted_from_a_server_that_is_known(server: Any, loopback_certificate: Path) -> None:
    done = read(server, SSL_CERT_FILE=str(loopback_certificate))
    assert (done.stdout, done.returncode) == ("4950.0\n", 0), done.stderr
    assert all(request.stop - request.start < 100_000 for request in server.requests if request.method == "GET")


def test_a_server_that_nobody_knows_is_refused(server: Any) -> None:
    done = read(server)
    assert done.returncode == 1
    assert "certificate verify failed" in done.stderr
    assert server.requests == []
