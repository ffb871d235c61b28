"""Says why a process has ended, where Ray ends it without a word.

A program that hands Ray an array writes it into the object store of its machine. If the store dies in the middle of
that, with the raylet, Ray calls ``_exit(1)`` (``plasma::StoreConn::ExitIfErrorStatus``, Ray 2.60): no exception, no
handler, no message. So a helper of the process waits for its end and, if the process did not announce it and its Ray
does not answer any more, writes the reason to the same standard error.
"""

from __future__ import annotations

import subprocess
import sys
from typing import IO

WHY = "Ray ended this process without a word"
_WATCH = """
import os, socket, sys
host, port, text = sys.argv[1:4]
if not sys.stdin.buffer.read():
    try:
        socket.create_connection((host, int(port)), 2.0).close()
    except OSError:
        os.write(2, text.encode())
"""


class LastWords:
    """A helper that waits for the end of this process.

    Args:
        address: of the head of Ray, ``HOST:PORT``.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        text = (
            f"error: {address}: {WHY}: the Ray of its machine died while a batch was on its way, and with it the "
            "store that held the batch. What was written is whole. Start the pool again and go on with --resume, or "
            "score over HTTP, where such a fault is an error like others\n"
        )
        self._helper = subprocess.Popen(  # noqa: S603  # in its own session: Ctrl-C is for the process that it watches
            [sys.executable, "-I", "-S", "-c", _WATCH, host.strip("[]"), port, text],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def are_not_needed(self) -> None:
        """The process ends of its own accord, or leaves Ray."""
        pipe: IO[bytes] | None = self._helper.stdin
        if pipe is None or pipe.closed:
            return
        try:
            pipe.write(b".")
            pipe.close()
        except OSError:  # the helper was killed; there is nothing to keep it from
            pass
        self._helper.wait()
