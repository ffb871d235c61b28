"""Execution: a processor over a fileset, locally or on Dask, with every chunk accounted for.

Words:
    chunk: a range of entries of one file.
    plan: all chunks of a run, known before anything is processed.
    ledger: every chunk once, with what became of it.
    closure: entries expected equal entries processed, per dataset.

Inputs: dataset records with their files, a coffea processor. Outputs: the merged output and the ledger.
Files: ledger.json.
"""

from darkop_dist.execution.chunk import ChunkResult, Task, process_chunk
from darkop_dist.execution.execute import Execution, execute
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
    "execute",
    "load_ledger",
    "plan_chunks",
    "process_chunk",
]
