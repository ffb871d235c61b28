"""Shapes of students: what a small network sees, how wide it is, and what becomes of its outputs.

``16-8-3`` is an encoder of the 57 objects' numbers whose score is the sum of the squared latent means, as AXOL1TL's.
``autoencoder:8-4-8`` gives the 19 transverse momenta back behind these layers; its score is the sum of the absolute
errors. ``regions:2-8-3`` is a convolution of two channels on the 14 x 18 regions of the calorimeter, in patches of
2 x 3 that do not overlap, and an encoder behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError
from darkop_dist.operators.fixed_point import FixedPointSettings, Patches
from darkop_dist.trigger.sample import Level1Sample

Kind = Literal["encoder", "autoencoder", "regions"]
MOMENTA = np.arange(0, 57, 3)
PATCHES = Patches(rows=2, columns=3, step_rows=2, step_columns=3)


@dataclass(frozen=True)
class Shape:
    """The shape of a student.

    Attributes:
        kind: what it sees and what its score is.
        widths: outputs of its layers, without those of an autoencoder that give the momenta back.
    """

    kind: Kind
    widths: tuple[int, ...]

    @property
    def name(self) -> str:
        """For a folder: ``16-8-3``, ``autoencoder-8-4-8``."""
        widths = "-".join(map(str, self.widths))
        return widths if self.kind == "encoder" else f"{self.kind}-{widths}"

    @property
    def settings(self) -> FixedPointSettings:
        """The network; the bits of its score are a first guess."""
        regions, autoencoder = self.kind == "regions", self.kind == "autoencoder"
        return FixedPointSettings(
            input_shape=(14, 18) if regions else (57,),
            patches=PATCHES if regions else None,
            widths=(*self.widths, len(MOMENTA)) if autoencoder else self.widths,
            score="error" if autoencoder else "squares",
            score_integer=12,
            score_fraction=4,
        )

    def inputs(self, sample: Level1Sample) -> npt.NDArray[np.float32]:
        """What it sees of a sample, shape (crossings, 57) or (crossings, 14, 18)."""
        return sample.regions if self.kind == "regions" else sample.inputs


def shape_of(text: str) -> Shape:
    """The shape that a text means.

    >>> shape_of("autoencoder:8-4-8")
    Shape(kind='autoencoder', widths=(8, 4, 8))

    Raises:
        InputValueError: it is none.
    """
    kind, colon, widths = text.rpartition(":")
    for known in get_args(Kind):
        if (kind or "encoder") == known and (kind or not colon):
            parts = widths.split("-")
            if all(part.isdecimal() and 0 < int(part) <= 4096 for part in parts) and len(parts) <= 7:
                return Shape(known, tuple(map(int, parts)))
    raise InputValueError(
        "shape of a student", f"{text!r} is none", "Write widths as 16-8-3, autoencoder:8-4-8 or regions:2-8-3"
    )
