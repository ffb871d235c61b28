"""A process that Ray ends without a word: the reason is written, and only then."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from darkop_dist.scoring.pool.last_words import WHY

PROGRAM = """
import os, sys, time
from darkop_dist.scoring.pool.last_words import LastWords
words = LastWords(sys.argv[1])
print("ready", flush=True)
{ends}
"""


@pytest.fixture
def head() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def ended(address: str, ends: str, number: int | None = None) -> tuple[int, str]:
    """Exit status and standard error of a process that ends so, with a signal if one is given."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM.format(ends=ends), address]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, env=environment, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if number is not None:
            process.send_signal(number)
        _, errors = process.communicate(timeout=60)  # the helper holds standard error until it has ended
    return process.returncode, errors


def place(head: socket.socket) -> str:
    return f"127.0.0.1:{head.getsockname()[1]}"


def test_an_end_without_a_word_is_explained(head: socket.socket) -> None:
    address = place(head)
    head.close()
    for ends, number in (("os._exit(1)", None), ("time.sleep(60)", signal.SIGKILL)):
        _, errors = ended(address, ends, number)
        assert errors.startswith(f"error: {address}: {WHY}"), errors
        assert "--resume" in errors


def test_other_ends_are_not(head: socket.socket) -> None:
    address = place(head)
    assert ended(address, "os._exit(1)") == (1, ""), "its Ray lives: somebody else ended it"
    head.close()
    assert ended(address, "words.are_not_needed(); words.are_not_needed(); os._exit(3)") == (3, "")


def test_the_helper_outlives_an_interrupt(head: socket.socket) -> None:
    address = place(head)
    head.close()
    interrupt = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); os.killpg(0, signal.SIGINT); os._exit(1)"
    status, errors = ended(address, interrupt)
    assert status == 1
    assert WHY in errors
