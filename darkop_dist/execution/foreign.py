"""Processors of others: they know coffea's contract and nothing of this package.

Such a processor gets its events as coffea's Runner makes them, in the schema that the user names and with the same
metadata, and is made anew for every chunk, so that what it keeps in itself reaches no other chunk.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import awkward as ak
import cloudpickle
from coffea.nanoevents import NanoEventsFactory

from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.errors import InputFileError
from darkop_dist.events.columns import time_columns
from darkop_dist.execution.plan import Chunk


@dataclass(frozen=True)
class ForeignProcessor:
    """A processor of coffea's with what our execution needs to run it.

    Attributes:
        wrapped: has ``process(events)``, or is a function of events.
        schema: class of coffea's schemas.
        metadata: what the fileset says beside the files, by dataset; the processor finds it in ``events.metadata``.
    """

    wrapped: Any
    schema: type[Any]
    metadata: Mapping[str, Mapping[str, Any]]

    @property
    def dressing(self) -> dict[str, Any]:
        """What results depend on besides the processor itself."""
        return {"schema": f"{self.schema.__module__}.{self.schema.__qualname__}", "metadata": dict(self.metadata)}

    def open_events(self, file: Any, chunk: Chunk, record: DatasetRecord) -> ak.Array:
        """Events of a chunk, read when they are touched.

        Args:
            file: the opened ROOT file.
            chunk: which entries.
            record: the dataset, with the name of the tree.

        Raises:
            InputFileError: the file is no ROOT file.
        """
        if file is None:
            raise InputFileError(chunk.path, "is no ROOT file", "Processors of coffea read ROOT files here.")
        metadata = {
            "dataset": chunk.dataset,
            "filename": chunk.path,
            "treename": record.tree,
            "entrystart": chunk.start,
            "entrystop": chunk.stop,
            "fileuuid": str(uuid.UUID(bytes=file.file.fUUID)),
            **self.metadata.get(chunk.dataset, {}),
        }
        factory = NanoEventsFactory.from_root(
            file,
            treepath=record.tree,
            mode="virtual",
            entry_start=chunk.start,
            entry_stop=chunk.stop,
            schemaclass=self.schema,
            metadata=metadata,
        )
        return time_columns(factory).events()

    def process(self, events: ak.Array) -> Any:
        """What the processor gives for a chunk.

        Raises:
            ValueError: it gives nothing.
        """
        made = cloudpickle.loads(self._payload)
        output = made.process(events) if hasattr(made, "process") else made(events)
        if output is None:
            raise ValueError("process() returned None: it must return something that coffea can accumulate")
        return output

    def postprocess(self, output: Any) -> Any:
        """What the processor makes of the sum of all chunks; the sum itself if it gives nothing."""
        if not hasattr(self.wrapped, "postprocess"):
            return output
        made = self.wrapped.postprocess(output)
        return output if made is None else made

    @cached_property
    def _payload(self) -> bytes:
        return bytes(cloudpickle.dumps(self.wrapped))
