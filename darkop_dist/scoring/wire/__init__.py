"""What travels between a client and a server of scores: batches, scores, descriptions of models, refusals.

Words:
    body: a batch or its scores as an Arrow IPC stream, uncompressed or with zstd; nothing on the wire is pickled.
    description: what a client must know of a served model (``ModelDescription``).
    problem: why a request was refused, as RFC 9457 writes it (``Problem``).

The names here load neither torch nor ray.
"""

from darkop_dist.scoring.wire.arrow import decode_batch, decode_scores, encode_batch, encode_scores
from darkop_dist.scoring.wire.description import ModelDescription
from darkop_dist.scoring.wire.problem import Code, Problem
from darkop_dist.scoring.wire.size import TooLargeError

__all__ = [
    "Code",
    "ModelDescription",
    "Problem",
    "TooLargeError",
    "decode_batch",
    "decode_scores",
    "encode_batch",
    "encode_scores",
]
