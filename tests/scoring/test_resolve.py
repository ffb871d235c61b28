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


@pytest.mark.parametrize("serve", ["ray", "https://gpu.example.org:8000", "remote"])
def test_other_places_are_not_available(checkpoint_directory: Path, serve: str) -> None:
    with pytest.raises(UserError, match=r"is not available, this version scores 'local' only"):
        resolve(checkpoint_directory, serve)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown checkpoint 'no-such-model'"):
        resolve("no-such-model")
    with pytest.raises(InputFileError, match=r"card\.json: cannot be read"):
        resolve(tmp_path)


def test_the_room_loads_no_torch(repository: Path) -> None:
    code = "import sys, darkop_dist.scoring; print({'torch', 'awkward', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
