"""A real XCache before a real server: what was read once is not asked of the server again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from darkop_dist.config.access import Access, Mirror
from darkop_dist.events.remote import open_root

pytest.importorskip("XRootD", reason="the xrootd client is not installed")


def test_a_cache_stands_before_the_whole_address(
    tmp_path: Path, xrootd_server: Callable[..., Any], relay_to: Callable[[int], Any]
) -> None:
    for name in ("served", "kept"):
        (tmp_path / name).mkdir()
    (tmp_path / "kept").chmod(0o777)
    numbers = np.random.default_rng(1).normal(size=20_000)
    with uproot.recreate(tmp_path / "served" / "a.root") as file:
        file["Events"] = {"x": numbers}
    relay = relay_to(xrootd_server(tmp_path / "served").port)
    origin = f"root://127.0.0.1:{relay.port}//"
    lines = ("ofs.osslib libXrdPss.so", "pss.cachelib libXrdPfc.so", "pss.origin =", "all.export /root:/", "pfc.ram 1g")
    cache = xrootd_server(tmp_path / "kept", lines=lines)
    access = Access(mirrors=(Mirror(prefix=origin, instead=(cache.prefix + origin,)),), timeout_s=20)
    address, itself = access.addresses([f"{origin}a.root"])
    moved = []
    for _ in range(2):
        relay.reset()
        with open_root(address, access) as file:
            assert np.array_equal(file["Events"]["x"].array(library="np"), numbers)
        moved.append(relay.answered)
    assert moved[0] > numbers.nbytes // 2
    assert moved[1] < 1000
    assert itself == f"{origin}a.root"
    cache.stop()
