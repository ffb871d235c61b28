"""A relay between clients and a server of this machine: it counts the bytes, and it stalls or cuts on command."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PORTION = 2**16


class Relay:
    """The relay; made by ``relay``.

    Attributes:
        port: on this machine, where clients connect.
        answered: bytes that the server has sent, all connections together.
        asked: bytes that the clients have sent.
        connections: how many clients have connected.
    """

    def __init__(self, target: int, listening: socket.socket) -> None:
        self.port: int = listening.getsockname()[1]
        self.answered = self.asked = self.connections = 0
        self._target, self._listening = target, listening
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._left: int | None = None
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._pumps: list[threading.Thread] = []
        self._closing = False

    def reset(self) -> None:
        """Count from zero."""
        with self._lock:
            self.answered = self.asked = 0

    def stall(self) -> None:
        """Hand nothing on, until ``resume``."""
        self._open.clear()

    def resume(self) -> None:
        """Hand everything on again, as it was; new connections too."""
        with self._lock:
            self._left = None
        self._open.set()

    def cut(self, after: int = 0) -> None:
        """Break every connection once the server has sent so many more bytes, and every later one, until ``resume``."""
        with self._lock:
            self._left = after
        if not after:
            self._break_all()

    def close(self) -> None:
        """Listen no more, and break what is connected."""
        self._closing = True
        self._open.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        sockets = [end for pair in self._pairs for end in pair]
        self._break_all()
        for pump in self._pumps:
            pump.join(5)
        for end in sockets:
            end.close()

    def accept(self) -> None:
        """Take connections until ``close``; runs in a thread."""
        while not self._closing:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:  # the server is gone
                client.close()
                continue
            with self._lock:
                self.connections += 1
                self._pairs.append((client, server))
            for way in ((client, server, False), (server, client, True)):
                self._pumps.append(threading.Thread(target=self._pump, args=way, daemon=True))
                self._pumps[-1].start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:  # noqa: FBT001
        with contextlib.suppress(OSError):
            while data := source.recv(PORTION):
                self._open.wait()
                data, broken = self._count(data, is_answer)
                sink.sendall(data)
                if broken:
                    self._break_all()
                    return
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _count(self, data: bytes, is_answer: bool) -> tuple[bytes, bool]:  # noqa: FBT001
        with self._lock:
            if not is_answer:
                self.asked += len(data)
                return data, self._left == 0
            if self._left is not None:
                data = data[: self._left]
                self._left -= len(data)
            self.answered += len(data)
            return data, self._left == 0

    def _break_all(self) -> None:
        with self._lock:
            pairs = tuple(self._pairs)
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay(target: int) -> Iterator[Relay]:
    """Relay a free port of this machine to another one of it, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = Relay(target, listening)
        thread = threading.Thread(target=found.accept, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            found.close()
            thread.join(5)
