"""From an address in a document to a scorer of the model that is served there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkop_dist.config.serving import Serving
from darkop_dist.errors import FingerprintError, UnknownNameError, UserError
from darkop_dist.scoring import resolve
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.scoring.remote.auto import AutoScorer
from darkop_dist.scoring.remote.fallback import FallbackScorer
from darkop_dist.scoring.remote.scorer import RemoteScorer

Serve = Callable[..., Any]
MakeBatch = Callable[..., dict[str, np.ndarray]]


def test_a_checkpoint_is_found_by_its_fingerprint(
    serve: Serve, checkpoint_directory: Path, local: LocalScorer, make_batch: MakeBatch
) -> None:
    server = serve(name="under another name")
    scorer = resolve(checkpoint_directory, server.url)
    assert isinstance(scorer, RemoteScorer)
    np.testing.assert_array_equal(scorer.score(make_batch(12)), local.score(make_batch(12)))


def test_a_model_that_only_the_server_has(serve: Serve) -> None:
    server = serve(name="theirs")
    assert resolve("theirs", server.url).fingerprint == server.scorer.fingerprint
    serving = Serving.model_validate({"at": server.url, "model": "theirs"})
    assert resolve("ours", serving).fingerprint == server.scorer.fingerprint
    with pytest.raises(UnknownNameError, match=r"'ours'.* has theirs\. Serve it: darkop serve ours"):
        resolve("ours", server.url)


def test_another_model_under_the_same_name(serve: Serve, checkpoint_directory: Path, local: LocalScorer) -> None:
    class Other(LocalScorer):
        fingerprint = "c" * 64

    server = serve(name="toy-dijets")
    server.scorer = Other(local._checkpoint)
    with pytest.raises(FingerprintError, match=rf"toy-dijets has the fingerprint c{{64}}, .* here {local.fingerprint}"):
        resolve(checkpoint_directory, server.url)


def test_nobody_answers(serve: Serve, checkpoint_directory: Path) -> None:
    with pytest.raises(
        UserError, match=r"the server does not answer: .*refused.* Start one: darkop serve .*toy-dijets"
    ):
        resolve(checkpoint_directory, "http://127.0.0.1:9")
    with pytest.raises(UserError, match="the server does not answer"):
        resolve(checkpoint_directory, serve(silent=True).url)


def test_a_fallback_needs_the_checkpoint_here(serve: Serve, checkpoint_directory: Path) -> None:
    server = serve(name="theirs")
    serving = Serving.model_validate({"at": server.url, "fallback": "local"})
    assert isinstance(resolve(checkpoint_directory, serving), FallbackScorer)
    with pytest.raises(UnknownNameError, match="unknown checkpoint 'theirs'"):
        resolve("theirs", serving)


def test_auto(serve: Serve, checkpoint_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("DARKOP_SERVE", raising=False)
    assert isinstance(resolve(checkpoint_directory, "auto"), LocalScorer)
    monkeypatch.setenv("DARKOP_SERVE", serve().url)
    assert isinstance(resolve(checkpoint_directory, "auto"), AutoScorer)
    monkeypatch.setenv("DARKOP_SERVE", "http://127.0.0.1:9")
    assert isinstance(resolve(checkpoint_directory, "auto"), LocalScorer)


def test_a_served_model_needs_no_torch_here(serve: Serve, repository: Path) -> None:
    server = serve(name="theirs")
    code = (
        "import sys, numpy as np\n"
        "class Hidden:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] in ('torch', 'ray', 'safetensors', 'sklearn'):\n"
        "            raise ModuleNotFoundError(f'No module named {name}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "from darkop_dist.scoring import resolve\n"
        f"scorer = resolve('theirs', {server.url!r})\n"
        "print(len(scorer.score({'fields': np.ones((3, 2, 8, 16), np.float32)})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3"
