"""Execution: a processor over a fileset, locally or on Dask, with every chunk accounted for.

Words:
    chunk: a range of entries of one file.
    plan: all chunks of a run, known before anything is processed.
    attempt: one try at a chunk.
    store: the results of chunks on disk, each under the key of what it depends on.
    ledger: every chunk once, with what became of it.
    closure: entries expected equal entries processed, per dataset.

Inputs: dataset records with their files, a coffea processor. Outputs: the merged output and the ledger.
Files: ledger.json, chunks/.
"""

from darkop_dist.execution.chunk import ChunkResult, Task, attempt_chunk
from darkop_dist.execution.driver import Execution
from darkop_dist.execution.execute import Watch, execute
from darkop_dist.execution.journal import partial_output, read_progress
from darkop_dist.execution.ledger import Closure, Ledger, LedgerEntry, load_ledger
from darkop_dist.execution.plan import Chunk, DatasetFiles, plan_chunks

__all__ = [
    "Chunk",
    "ChunkResult",
    "Closure",
    "DatasetFiles",
    "Execution",
    "Ledger",
    "LedgerEntry",
    "Task",
    "Watch",
    "attempt_chunk",
    "execute",
    "load_ledger",
    "partial_output",
    "plan_chunks",
    "read_progress",
]
