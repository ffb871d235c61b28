"""A real xrootd server on this machine: Debian's ``xrootd``, which serves one folder over root:// and http://.

A server run by root would refuse to start. It runs as ``nobody`` then, with the one capability that lets it read the
folders of the tests.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from darkop_dist.scoring.pool.head import free_port

START_S = 30.0
UNPRIVILEGED = ("--reuid", "nobody", "--regid", "nogroup", "--clear-groups")
MAY_READ = ("--inh-caps", "+dac_override", "--ambient-caps", "+dac_override")


@dataclass
class XrootdServer:
    """The server; made by ``serve``.

    Attributes:
        folder: what it serves, read-only.
        port: on this machine, of both protocols.
        process: the server's process; ``stop`` ends it.
        log: what it said.
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def prefix(self) -> str:
        """What names of files are put behind: ``root://127.0.0.1:PORT//``."""
        return f"root://127.0.0.1:{self.port}//"

    def url(self, name: str) -> str:
        """The address of a file of the folder over xrootd."""
        return self.prefix + name

    def http(self, name: str) -> str:
        """The address of a file of the folder over HTTP, which the same server speaks."""
        return f"http://127.0.0.1:{self.port}/{name}"

    def stall(self) -> None:
        """Let connections stand and answer nothing, until ``resume``."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the server."""
        self.resume()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def missing() -> str:
    """Why no server can run here; empty if one can."""
    if shutil.which("xrootd") is None:
        return "there is no command xrootd: install Debian's xrootd-server"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "xrootd does not run as root, and there is no command setpriv to run it as nobody"
    return ""


@contextmanager
def serve(
    folder: Path, *, lines: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[XrootdServer]:
    """Serve a folder on a free port of this machine until the block ends.

    Args:
        folder: with the files.
        lines: further lines of the server's configuration.
        environment: what its environment has besides this process's.
    """
    place = Path(tempfile.mkdtemp(prefix="xrd"))  # short: sockets lie in it, and their paths may have 108 characters
    try:
        server = _start(folder, place, lines, environment or {})
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _start(folder: Path, place: Path, lines: Sequence[str], environment: Mapping[str, str]) -> XrootdServer:
    (place / "admin").mkdir()
    configuration = [
        f"oss.localroot {folder.resolve()}",
        "all.export / r/o",
        f"all.adminpath {place}/admin",
        f"all.pidpath {place}/admin",
        "xrd.protocol http libXrdHttp.so",
        "xrd.network nodnr",
        "ofs.persist off",
        *lines,
    ]
    (place / "server.cfg").write_text("\n".join(configuration) + "\n")
    command = ["xrootd", "-c", str(place / "server.cfg"), "-n", "t"]
    if os.geteuid() == 0:
        for path in (place, place / "admin"):
            shutil.chown(path, "nobody")
        command = ["setpriv", *UNPRIVILEGED, *MAY_READ, *command]
    port = free_port("127.0.0.1", 0, "-p")
    log = place / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*command, "-p", str(port)], stdout=said, stderr=said, cwd=place, env={**os.environ, **environment}
        )
    server = XrootdServer(folder, port, process, log)
    try:
        _wait_for(server)
    except BaseException:
        server.stop()
        raise
    return server


def _wait_for(server: XrootdServer) -> None:
    end = time.monotonic() + START_S
    while server.process.poll() is None and time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1.0):
            return
        time.sleep(0.02)
    raise RuntimeError(f"xrootd did not start:\n{server.log.read_text(errors='replace')}")
