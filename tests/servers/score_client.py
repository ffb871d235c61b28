"""A client in a process of its own: scores the same batch again and again, and compares with the model here.

Arguments: checkpoint, ``operator.serve`` as JSON, a file whose appearance ends it. It prints a line for each batch that
was as it should be, then one JSON object: ``origins`` and ``error``, what stopped it.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import numpy as np

from darkop_dist.config.serving import Serving
from darkop_dist.errors import DarkopError
from darkop_dist.scoring.origins import recorded_origins
from darkop_dist.scoring.resolve import resolve

EVENTS = 700


def main(checkpoint: str, serving: str, ended: str) -> None:
    """Score until the end, or the first error."""
    logging.basicConfig(format="%(relativeCreated)d %(name)s %(message)s")
    logging.getLogger("darkop_dist").setLevel(logging.INFO)
    local = resolve(checkpoint)
    scorer = resolve(checkpoint, Serving.model_validate_json(serving))
    rng = np.random.default_rng(5)
    batch = {one.name: rng.exponential(size=(EVENTS, *one.shape)).astype(np.float32) for one in local.inputs}
    expected, error = local.score(batch), None
    with recorded_origins() as origins:
        try:
            while not Path(ended).exists():
                np.testing.assert_array_equal(scorer.score(batch), expected)
                sys.stdout.write("equal\n")
                sys.stdout.flush()
        except DarkopError as found:
            error = f"{type(found).__name__}: {found}"
    sys.stdout.write(json.dumps({"origins": origins.events, "error": error}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
