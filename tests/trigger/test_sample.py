"""Samples of the trigger's inputs: written and read back, refused where they are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from level1_events import made_up, random_inputs

from darkop_dist.errors import InputFileError, OutputError
from darkop_dist.trigger.sample import read_sample, write_sample


def test_a_sample_comes_back(tmp_path: Path) -> None:
    sample = made_up(random_inputs(50))
    found = read_sample(write_sample(sample, tmp_path / "zero.parquet"))
    assert found.about == sample.about
    np.testing.assert_array_equal(found.inputs, sample.inputs)
    np.testing.assert_array_equal(found.regions, sample.regions)
    for name in ("stratum", "collisions", "weight"):
        np.testing.assert_array_equal(getattr(found.crossings, name), getattr(sample.crossings, name))
    some = found.rows(np.array([3, 4]))
    np.testing.assert_array_equal(some.inputs, sample.inputs[3:5])
    with pytest.raises(OutputError, match="exists already"):
        write_sample(sample, tmp_path / "zero.parquet")
    write_sample(sample, tmp_path / "zero.parquet", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["zero.parquet"]


def test_what_is_no_sample(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="does not exist"):
        read_sample(tmp_path / "absent.parquet")
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), other)
    with pytest.raises(InputFileError, match="no sample of the trigger's inputs"):
        read_sample(other)
    other.write_bytes(b"PAR1")
    with pytest.raises(InputFileError, match="no sample of the trigger's inputs"):
        read_sample(other)
    inputs = random_inputs(5)
    inputs[2, 0] = 5000
    with pytest.raises(InputFileError, match="1 crossings are beyond the hardware's scales"):
        read_sample(write_sample(made_up(inputs), tmp_path / "beyond.parquet"))
