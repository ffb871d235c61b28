"""Preflight: everything that can be known of a run before it begins, found together.

Words:
    finding: what one check says of one subject: ok, warning, failed or skipped.
    trial: the processor over the first events of a dataset, here, with nothing kept.
    need: what the run will take of memory, time and space, estimated from the trials.

Inputs: a document. Outputs: findings. Files: none; archives that the datasets name are unpacked into the cache.
"""

from darkop_dist.stages.preflight.check_all import check_all
from darkop_dist.stages.preflight.finding import Finding

__all__ = ["Finding", "check_all"]
