"""Errors survive the way back from a worker and say what to do."""

import pickle

import pytest

from darkop_dist.errors import (
    ChunkError,
    DarkopError,
    DocumentError,
    InputFileError,
    InputValueError,
    MissingExtraError,
    Mistake,
    UnknownNameError,
    UserError,
    nearest_names,
)


@pytest.mark.parametrize("kind", [InputFileError, InputValueError])
def test_errors_travel_between_processes(kind: type[DarkopError]) -> None:
    error = kind("a.root", "is cut", "Download it again.")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # made here
    assert (str(again), vars(again)) == (str(error), vars(error))
    assert str(error) == "a.root: is cut. Download it again."


def test_exit_status_tells_the_users_mistakes_from_failures() -> None:
    assert UserError.exit_status == 2
    assert ChunkError.exit_status == 1


def test_all_mistakes_of_a_document_in_one_message() -> None:
    mistakes = [
        Mistake(3, "limits.statistic", "qtlde", "must be qtilde or q", ("qtilde",)),
        Mistake(None, "datasets", None, "is missing"),
    ]
    text = str(DocumentError("a.yml", mistakes))
    assert "a.yml: 2 mistakes" in text
    assert "line 3: limits.statistic: must be qtilde or q (found qtlde); did you mean 'qtilde'?" in text


def test_names_and_extras() -> None:
    assert "Did you mean cms-2016g-met?" in str(UnknownNameError("dataset", "cms-2016g-mett", ["cms-2016g-met"], "x"))
    assert "pip install 'darkop-dist[limits]'" in str(MissingExtraError("pyhf", "limits"))
    assert nearest_names("zzz", ["abc"]) == ()
