"""Files of showers: round trips, parts, each kind of bad file, and the real files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from darkop_dist.errors import InputFileError, InputValueError, OutputError
from darkop_dist.operators.showers.files import count_showers, read_showers, shower_parts, write_showers
from darkop_dist.operators.showers.sample import DATASET_2, FINE, Showers, VoxelGeometry, coarsen

Make = Callable[..., Showers]
SMALL = VoxelGeometry(3, 6, 4, 20.0)


@pytest.fixture
def good(tmp_path: Path, make_showers: Make) -> Path:
    write_showers(tmp_path / "good.h5", make_showers(25, 1, SMALL), attributes={"particle": "e-"})
    return tmp_path / "good.h5"


def test_a_file_comes_back_as_it_was_written(good: Path, make_showers: Make) -> None:
    made, read = make_showers(25, 1, SMALL), read_showers(good)
    assert read.geometry == SMALL
    assert list(read.columns) == ["cpu_s"]
    np.testing.assert_array_equal(read.energies, made.energies)
    np.testing.assert_array_equal(read.incident_energies, made.incident_energies)
    np.testing.assert_array_equal(read.columns["cpu_s"], made.columns["cpu_s"])
    with h5py.File(good) as file:
        assert file["incident_energies"].shape == (25, 1)
        assert file.attrs["particle"] == "e-"


def test_parts_are_no_larger_than_asked_and_make_the_whole(good: Path, tmp_path: Path) -> None:
    assert [len(part) for part in shower_parts(good, size=10)] == [10, 10, 5]
    assert [len(part) for part in shower_parts(good, size=10, start=3, stop=14)] == [10, 1]
    assert write_showers(tmp_path / "parts.h5", shower_parts(good, size=7)) == 25
    np.testing.assert_array_equal(read_showers(tmp_path / "parts.h5").energies, read_showers(good).energies)
    assert count_showers(good) == 25


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(good: Path, make_showers: Make) -> None:
    before = good.read_bytes()

    def broken() -> Iterator[Showers]:
        yield make_showers(3, 2, SMALL)
        raise RuntimeError("the generator failed")

    with pytest.raises(RuntimeError, match="the generator failed"):
        write_showers(good, broken())
    with pytest.raises(InputValueError, match="differ in voxels"):
        write_showers(good, [make_showers(3, 2, SMALL), make_showers(3, 2, VoxelGeometry(3, 6, 2))])
    with pytest.raises(InputValueError, match="none to write"):
        write_showers(good, [])
    with pytest.raises(OutputError, match="cannot be written"):
        write_showers(good.parent / "absent" / "file.h5", make_showers(3, 2, SMALL))
    assert good.read_bytes() == before
    assert list(good.parent.iterdir()) == [good]


def test_the_known_numbers_of_voxels_need_no_attribute(tmp_path: Path, make_showers: Make) -> None:
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        made = make_showers(2, 1)
        file["incident_energies"], file["showers"] = made.incident_energies[:, None], made.energies
    assert read_showers(tmp_path / "plain.h5").geometry == DATASET_2


def change(path: Path, name: str, value: float) -> None:
    with h5py.File(path, "r+") as file:
        file[name][17, 0] = value


def test_absent(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"no such file of showers. Check the path"):
        read_showers(tmp_path / "absent.h5")


def test_no_hdf5(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no showers here")
    with pytest.raises(InputFileError, match=r"not a readable HDF5 file. A CaloChallenge file holds"):
        read_showers(tmp_path / "text.h5")


@pytest.mark.parametrize("name", ["showers", "incident_energies"])
def test_a_missing_dataset(good: Path, name: str) -> None:
    with h5py.File(good, "r+") as file:
        del file[name]
    with pytest.raises(InputFileError, match=f"no dataset '{name}'. A CaloChallenge file holds"):
        read_showers(good)


def test_a_wrong_number_of_voxels(good: Path) -> None:
    with pytest.raises(InputFileError, match=r"showers has 72, expected 6480 \(45 x 16 x 9\). Name the geometry"):
        read_showers(good, geometry=DATASET_2)
    with h5py.File(good, "r+") as file:
        del file.attrs["shape"]
    with pytest.raises(InputFileError, match="showers has 72, expected one of 6480"):
        read_showers(good)


def test_showers_without_their_particles(good: Path) -> None:
    with h5py.File(good, "r+") as file:
        del file["incident_energies"]
        file["incident_energies"] = np.ones((24, 1))
    with pytest.raises(InputFileError, match=r"incident_energies has shape \(24, 1\), showers \(25, 72\)"):
        read_showers(good)


def test_a_negative_energy(good: Path) -> None:
    change(good, "showers", -0.1)
    with pytest.raises(InputFileError, match=r"shower 17 has an energy below 0. Voxel energies are"):
        read_showers(good)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_energy_that_is_not_finite(good: Path, value: float) -> None:
    change(good, "showers", value)
    with pytest.raises(InputFileError, match="shower 17 has an energy that is not finite"):
        read_showers(good)


@pytest.mark.parametrize("value", [0.0, -5.0, np.nan])
def test_an_incident_energy_that_is_not_positive(good: Path, value: float) -> None:
    change(good, "incident_energies", value)
    with pytest.raises(InputFileError, match=r"shower 17 has an incident energy of .* must be above 0"):
        read_showers(good)


def test_showers_that_the_file_does_not_have(good: Path) -> None:
    with pytest.raises(InputFileError, match="no showers from 25 on"):
        read_showers(good, start=25)


def test_groups_that_do_not_fit(make_showers: Make) -> None:
    with pytest.raises(InputValueError, match="do not make groups of 5 x 2"):
        coarsen(make_showers(2, 1, SMALL), azimuths=5)


@pytest.mark.slow
def test_fine_voxels_sum_to_the_coarse_ones_of_the_same_showers(shared_data: Path) -> None:
    """The simulation wrote both, each in single precision: they differ by its rounding, 6e-8, and sums of six."""
    folder = shared_data / "showers"
    coarse = shower_parts(folder / "electrons_train.h5", size=250)
    for fine in shower_parts(folder / "electrons_fine_train.h5", size=250):
        assert fine.geometry == FINE
        known, summed = next(coarse), coarsen(fine)
        assert summed.geometry == known.geometry == DATASET_2
        np.testing.assert_array_equal(summed.incident_energies, known.incident_energies)
        np.testing.assert_array_equal(summed.columns["cpu_s"], known.columns["cpu_s"])
        np.testing.assert_allclose(summed.energies, known.energies, rtol=1e-6, atol=1e-9)
