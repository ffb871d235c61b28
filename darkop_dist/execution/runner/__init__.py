"""Our execution inside coffea's own Runner.

Words:
    item: what the Runner hands out: a file whose metadata it wants, or a range of entries that it wants processed.
    allowed: an error that the Runner's ``skipbadfiles`` lets pass.

Inputs: items and a function, from the Runner. Outputs: the merged results, and a ledger of the items.
"""

from darkop_dist.execution.runner.executor import DarkopExecutor

__all__ = ["DarkopExecutor"]
