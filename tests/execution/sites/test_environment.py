"""The workers' environment is compared before anything is sent; real workers, some with other packages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from darkop_dist.config import Execution
from darkop_dist.errors import RunError
from darkop_dist.execution.sites import check_environment, open_client
from darkop_dist.execution.sites.environment import ABSENT, PARTS_THAT_MUST_AGREE, Difference, _compare


def write_package(folder: Path, name: str, version: str) -> None:
    """The metadata of an installed distribution, found before the real one."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@contextmanager
def odd_worker(hosts: Any, folder: Path, name: str, **versions: str) -> Iterator[None]:
    """A third worker that finds other packages first."""
    for package, version in versions.items():
        write_package(folder / "packages", package, version)
    path = f"{folder / 'packages'}:{os.environ.get('PYTHONPATH', '')}"
    with (
        hosts.one_more(name, {"PYTHONPATH": path}),
        Client(f"tcp://127.0.0.1:{hosts.port}", set_as_default=False) as client,
    ):
        client.wait_for_workers(3, timeout=60)
        yield


@pytest.mark.slow
def test_equal_environments(two_hosts: Any) -> None:
    said: list[str] = []
    with open_client(Execution(where=f"dask://127.0.0.1:{two_hosts.port}"), say=said.append) as site:
        site.client.wait_for_workers(2, timeout=60)
        assert check_environment(site.client) == ()
    assert said == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Mismatched versions found")  # what Dask itself says of its own version
def test_each_version_that_breaks_is_named(two_hosts: Any, tmp_path: Path) -> None:
    here = metadata.version
    with odd_worker(two_hosts, tmp_path, "odd", awkward="1.10.5", distributed="2024.1.0", uproot="5.0.1"):
        with pytest.raises(RunError, match="the workers' environment does not fit this process") as caught:
            open_client(Execution(where=f"dask://127.0.0.1:{two_hosts.port}")).__enter__()
        text = str(caught.value)
        assert "awkward: worker odd (tcp://127.0.0.1:" in text
        assert f"has 1.10.5, this process has {here('awkward')}" in text
        assert f"has 2024.1.0, this process has {here('distributed')}" in text
        assert "uproot" not in text
        assert "host-0" not in text


@pytest.mark.slow
def test_other_differences_are_said(two_hosts: Any, tmp_path: Path) -> None:
    said: list[str] = []
    execution = Execution(where=f"dask://127.0.0.1:{two_hosts.port}")
    with odd_worker(two_hosts, tmp_path, "old", uproot="5.0.1"), open_client(execution, say=said.append):
        pass
    assert len(said) == 1
    assert said[0].startswith("the workers' environment differs: uproot: worker old (tcp://127.0.0.1:")
    assert said[0].endswith(f"has 5.0.1, this process has {metadata.version('uproot')}")


@pytest.mark.parametrize(
    ("package", "here", "there", "breaks"),
    [
        ("python", "3.11.7", "3.12.1", True),
        ("python", "3.11.7", "3.11.2", False),
        ("darkop-dist", "0.1.0", "0.1.1", True),
        ("darkop-dist", "0.1.0", ABSENT, True),
        ("numpy", "2.4.0", "1.26.4", True),
        ("numpy", "2.4.0", "2.2.1", False),
        ("coffea", "2026.9.0", "2025.12.0", True),
        ("coffea", "2026.9.0", "2026.3.0", False),
        ("distributed", "2025.3.1", "2025.3.1+local", False),
    ],
)
def test_what_breaks(package: str, here: str, there: str, breaks: bool) -> None:  # noqa: FBT001
    parts = 2 if package == "python" else PARTS_THAT_MUST_AGREE[package]
    names = {"tcp://a:1": "one", "tcp://b:2": "two", "tcp://c:3": "three"}
    answers = {"tcp://a:1": there, "tcp://b:2": here, "tcp://c:3": there}
    (found,) = _compare(package, here, answers, names, parts=parts)
    assert found == Difference(package, here, there, ("one (tcp://a:1)", "three (tcp://c:3)"), breaks)
    version = "not installed" if there == ABSENT else f"has {there}"
    assert str(found) == f"{package}: worker one (tcp://a:1) and 1 more: {version}, this process has {here}"
