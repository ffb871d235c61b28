"""From what a document says to a scorer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from darkop_dist.errors import InputFileError, UnknownNameError, UserError
from darkop_dist.scoring import resolve


def test_a_directory_becomes_a_scorer(checkpoint_directory: Path) -> None:
    scorer = resolve(str(checkpoint_directory))
    assert scorer.inputs[0].name == "fields"
    assert resolve(checkpoint_directory, "local").fingerprint == scorer.fingerprint


def test_what_is_no_place_is_refused(checkpoint_directory: Path) -> None:
    with pytest.raises(UserError, match=r"operator\.serve: 'remote' must be local, auto, ray, ray://HOST:PORT"):
        resolve(checkpoint_directory, "remote")


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown checkpoint 'no-such-model'"):
        resolve("no-such-model")
    with pytest.raises(InputFileError, match=r"card\.json: cannot be read"):
        resolve(tmp_path)


def test_the_room_loads_no_torch(repository: Path) -> None:
    code = "import sys, darkop_dist.scoring; print({'torch', 'awkward', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
