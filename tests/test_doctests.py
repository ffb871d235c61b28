"""Examples in docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import darkop_dist

MODULES = sorted(module.name for module in pkgutil.walk_packages(darkop_dist.__path__, "darkop_dist."))


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    count = sum(len(test.examples) for name in MODULES for test in finder.find(importlib.import_module(name)))
    assert count >= 5


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
