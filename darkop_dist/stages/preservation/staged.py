"""A package made ready to run: its files copied, its local inputs found and linked in the order of the run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkop_dist.catalogue import load_catalogue
from darkop_dist.config import DatasetRecord
from darkop_dist.config.parse import read_yaml
from darkop_dist.errors import InputFileError, OutputError, UserError
from darkop_dist.runs import file_sha256
from darkop_dist.stages.preservation.document import INSIDE, replaced
from darkop_dist.stages.preservation.inputs import LOCAL
from darkop_dist.stages.preservation.opened import OpenPackage
from darkop_dist.stages.preservation.readme import source_of
from darkop_dist.stages.sources import WORKING_DIRECTORY

COPIED = ("code", "files", "operator")
SHOWN = 10
Say = Callable[[str], None]


@dataclass(frozen=True)
class Staged:
    """What is needed to run.

    Attributes:
        document: the document, all of its files in their places.
        taught: the directory that holds the operator's checkpoint, if the run trained or chose it.
        python_path: folders that the processor's modules are imported from.
        begins_in: directory where the run begins, if the processor names files relative to it.
    """

    document: Path
    taught: Path | None
    python_path: tuple[Path, ...]
    begins_in: Path | None


def stage(
    package: OpenPackage, folder: Path, inputs: Sequence[Path], *, where: str | None = None, say: Say = lambda _: None
) -> Staged:
    """Copy what a search needs from a package, find its inputs, and write the document that runs.

    Args:
        package: the package.
        folder: where to; it is made.
        inputs: directories in which local inputs are looked for.
        where: where to run, as ``execution.where`` of a document, or a document whose section ``execution`` says all
            that a site must know; this process by default.
        say: is told what takes long.

    Raises:
        InputFileError: a local input is missing or is another file; the document of the site cannot be read.
        OutputError: the folder cannot be written.
    """
    found = find_local(package, inputs, say=say)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in COPIED:
            if (package.path / name).is_dir():
                shutil.copytree(package.path / name, folder / name, dirs_exist_ok=True)
        links = _linked(found, folder / "inputs", package.path)
        body = json.loads((package.path / "document" / "search.json").read_text(encoding="utf-8"))
        body["execution"] |= {} if where is None else _site(where)
        document = folder / "search.json"
        document.write_text(json.dumps(replaced(body, lambda text: _placed(text, links, folder)), indent=1))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}). Choose another place.") from error
    begins_in = folder.absolute() / WORKING_DIRECTORY if package.told["begins_in"] else None
    return Staged(
        document=document.absolute(),
        taught=folder.absolute() / "operator" if package.told["taught"] else None,
        python_path=tuple(folder.absolute() / name for name in package.told["python_path"]),
        begins_in=begins_in,
    )


@contextmanager
def importing(staged: Staged) -> Iterator[None]:
    """The processor's modules can be imported, and the files that it names are found, for as long as this lasts.

    Raises:
        UserError: this process has imported other modules of the same names already.
    """
    import sys

    for place in staged.python_path:
        for path in place.rglob("*.py"):
            parts = path.relative_to(place).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            loaded = getattr(sys.modules.get(name), "__file__", None)
            if loaded is not None and Path(loaded) != path:
                raise UserError(
                    f"this process has imported another module {name} already: reproduce the package in a process of "
                    "its own, with darkop reproduce"
                )
    before = list(sys.path)
    with ExitStack() as stack:
        if staged.begins_in is not None:
            stack.enter_context(chdir(staged.begins_in))
        sys.path[:0] = map(str, staged.python_path)
        try:
            yield
        finally:
            sys.path[:] = before


def find_local(package: OpenPackage, folders: Sequence[Path], *, say: Say = lambda _: None) -> dict[str, Path]:
    """The local inputs of a package, in its own folder or by their names in others, each checked by its content.

    Args:
        package: the package.
        folders: where to look besides.
        say: is told what takes long.

    Returns:
        Path by name; a file that has a replica elsewhere may be absent.

    Raises:
        InputFileError: a folder does not exist, or files are missing or are others; names all of them.
    """
    for folder in folders:
        if not folder.is_dir():
            raise InputFileError(str(folder), "no such directory", "Give --inputs the directory that holds the files.")
    records = _records(package)
    wanted: list[Mapping[str, Any]] = list(package.inputs["local"])
    at_hand = _by_name(folders) if wanted else {}
    found: dict[str, Path] = {}
    problems = []
    if wanted:
        total = sum(file["bytes"] for file in wanted)
        say(f"checking {len(wanted)} local input files, {total / 1e6:.1f} MB")
    for file in wanted:
        label = file["name"].removeprefix(LOCAL)
        candidates = [package.path / "inputs" / label, *at_hand.get(Path(label).name, [])]
        present = [path for path in candidates if path.is_file()]
        same = next((path for path in present if _is(path, file)), None)
        if same is not None:
            found[file["name"]] = same
        elif present:
            problems.append(_other(present[0], file))
        elif not _has_replica(records, file["name"]):
            problems.append(_missing(file, [records[name] for name in file["datasets"] if name in records]))
    if problems:
        told = "\n".join(f"  {problem}" for problem in problems[:SHOWN])
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise InputFileError(
            package.shown,
            f"{len(problems)} of {len(wanted)} local input files cannot be used:\n{told}{more}",
            "Name the directory that holds them: --inputs DIRECTORY; it is searched by name, with all below it.",
        )
    return found


def _site(where: str) -> dict[str, Any]:
    """What the section ``execution`` says of a site; the size of the chunks stays that of the run."""
    if not where.endswith((".yml", ".yaml")):
        return {"where": where}
    place = Path(where)
    section = read_yaml(place).data.get("execution")
    if not isinstance(section, dict):
        raise InputFileError(
            where, "has no section execution", "Write what the site must know: where, cluster, workers."
        )
    site = {key: value for key, value in section.items() if key != "chunk_events"}
    cluster = dict(site.get("cluster") or {})
    if "shared_directory" in cluster:
        cluster["shared_directory"] = str(place.absolute().parent / cluster["shared_directory"])
    if isinstance(cluster.get("tls"), dict):
        cluster["tls"] = {key: str(place.absolute().parent / path) for key, path in cluster["tls"].items()}
    return site | {"cluster": cluster}


def _is(path: Path, file: Mapping[str, Any]) -> bool:
    if file["bytes"] and path.stat().st_size != file["bytes"]:
        return False
    return file["sha256"] is None or file_sha256(path) == file["sha256"]


def _other(path: Path, file: Mapping[str, Any]) -> str:
    size = path.stat().st_size
    if file["bytes"] and size != file["bytes"]:
        return f"{file['name']}: {path} has {size} bytes instead of {file['bytes']}"
    hashes = f"{file_sha256(path)[:16]}... instead of {file['sha256'][:16]}..."
    return f"{file['name']}: {path} is another file: SHA-256 {hashes}"


def _missing(file: Mapping[str, Any], records: Sequence[DatasetRecord]) -> str:
    size = f"{file['bytes'] / 1e6:.1f} MB, " if file["bytes"] else ""
    sources = "; ".join(dict.fromkeys(f"{record.name}: {source_of(record)}" for record in records))
    known = load_catalogue()
    commands = [f"darkop datasets download {record.name}" for record in records if record.name in known]
    told = f"; download it: {' and '.join(commands)}" if commands else ""
    return f"{file['name']}: not found ({size}{sources}){told}"


def _has_replica(records: Mapping[str, DatasetRecord], name: str) -> bool:
    return any(
        not isinstance(entry, str) and entry.uri == name and bool(entry.replicas)
        for record in records.values()
        for entry in record.files
    )


def _records(package: OpenPackage) -> dict[str, DatasetRecord]:
    body = json.loads((package.path / "catalogue" / "records.json").read_text(encoding="utf-8"))
    return {record["name"]: DatasetRecord.model_validate(record) for record in body["records"]}


def _by_name(folders: Iterable[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for path in sorted(folder.absolute().rglob("*")):
            found.setdefault(path.name, []).append(path)
    return found


def _linked(found: Mapping[str, Path], folder: Path, package: Path) -> dict[str, str]:
    """Links in the order of the run, under the ends of their paths that the run knew; what a zip file held is moved."""
    places = {}
    for number, (name, path) in enumerate(found.items()):
        place = folder / f"{number:06d}" / name.removeprefix(LOCAL)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        if path.is_relative_to(package):
            shutil.copyfile(path, place)
        else:
            place.symlink_to(path.absolute())
        places[name] = str(place.absolute())
    return places


def _placed(text: str, links: Mapping[str, str], folder: Path) -> str:
    """A text of the packaged document with the real path of the file that it names."""
    if text.startswith(INSIDE):
        return str(folder.absolute() / text.removeprefix(INSIDE))
    members, separator, archive = text.partition("::")
    if separator and archive in links:
        return f"{members}::{links[archive]}"
    if text.startswith(LOCAL) and text not in links:
        return str(folder.absolute() / "absent" / text.removeprefix(LOCAL))
    return links.get(text, text)
