"""The cache in front of a run: remote files are read from verified copies on this machine, fetched first if need be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from darkop_dist.catalogue.cache import FileCache, Lease, shown_size
from darkop_dist.catalogue.files import ResolvedFile
from darkop_dist.config.access import Access
from darkop_dist.config.datasets import DatasetFile, DatasetRecord
from darkop_dist.events.remote import DEFAULT, is_remote
from darkop_dist.execution import DatasetFiles
from darkop_dist.runs import cache_directory
from darkop_dist.stages.fetch_files import FetchedFiles, Fetching, fetch_to_cache

Say = Callable[[str], None]
STEPS = 10


@dataclass(frozen=True)
class LocalCopies(Mapping[str, str]):
    """Copies on this machine by the address of the file; they stay in the cache as long as this object lives.

    Attributes:
        places: paths.
        lease: keeps them.
    """

    places: Mapping[str, str]
    lease: Lease | None = None

    def __getitem__(self, address: str) -> str:
        return self.places[address]

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


@dataclass
class Spoken:
    """Watches a download in sentences, at most ``STEPS`` of them on how far it is."""

    speak: Say
    sizes: dict[Path, int] = field(default_factory=dict)
    done: dict[Path, int] = field(default_factory=dict)
    step: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, text: str) -> None:
        """Pass it on."""
        self.speak(text)

    def expected(self, sizes: Mapping[Path, int]) -> None:
        """Remember what will come."""
        self.sizes.update(sizes)

    def moved(self, path: Path, size: int) -> None:
        """Count, and say every tenth; what was there before is not worth a word."""
        with self.lock:
            began = path not in self.done
            self.done[path] = size
            total, done = sum(self.sizes.values()), sum(self.done.values())
            step = done * STEPS // total if total else STEPS
            if step > self.step and not began:
                self.speak(f"cache: {shown_size(done)} of {shown_size(total)} are there")
            self.step = max(self.step, step)


def with_local_copies(datasets: Sequence[DatasetFiles], say: Say, *, access: Access = DEFAULT) -> list[DatasetFiles]:
    """Datasets whose remote files are read from the cache; what is not there is fetched first.

    A file that cannot be fetched is left to the run, which tries its addresses and accounts for it.

    Args:
        datasets: the datasets with their files.
        say: is told how it goes.
        access: how remote files are reached.

    Raises:
        OutputError: the cache is too small for the files, or cannot be written.
        StorageError: the disk is full; what was loaded is kept.
    """
    wanted = [file for dataset in datasets for file in remote_files(dataset)]
    if not wanted:
        return list(datasets)
    found = fetch_all(wanted, say, access)
    places = {uri: str(fetched.path) for uri, fetched in found.files.items()}
    return [
        replace(dataset, local=LocalCopies({p: places[p] for p in dataset.paths if p in places}, found.lease))
        for dataset in datasets
    ]


def fetch_all(files: Sequence[DatasetFile], say: Say, access: Access) -> FetchedFiles:
    """Files in the cache, as many as can be had.

    Raises:
        OutputError: the cache is too small for the files, or cannot be written.
        StorageError: the disk is full; what was loaded is kept.
    """
    return fetch_to_cache(files, file_cache(), Fetching(keep_going=True, access=access, monitor=Spoken(say)))


def file_cache(directory: Path | None = None) -> FileCache:
    """The downloads in a cache directory; the user's own by default."""
    return FileCache((directory or cache_directory()) / "downloads")


def remote_files(dataset: DatasetFiles) -> list[DatasetFile]:
    """The files of a dataset that are not on this machine, with what its record knows of each."""
    known = {file.uri: file for file in dataset.record.files if isinstance(file, DatasetFile)}
    return [
        known.get(path) or DatasetFile(uri=path, replicas=dataset.replicas.get(path, ()))
        for path in dataset.paths
        if is_remote(path)
    ]


def described(record: DatasetRecord, files: Sequence[ResolvedFile]) -> tuple[DatasetFile, ...]:
    """Files with what their record knows of them."""
    known = {file.uri: file for file in record.files if isinstance(file, DatasetFile)}
    return tuple(
        known.get(file.path_or_url) or DatasetFile(uri=file.path_or_url, events=file.events, replicas=file.replicas)
        for file in files
    )
