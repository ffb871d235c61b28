"""All scores of generated showers beside those of simulated ones against each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from darkop_dist.errors import InputValueError
from darkop_dist.operators.showers.classifier import LEAST, ClassifierSettings, Discrimination, discriminate
from darkop_dist.operators.showers.features import (
    ShowerFeatures,
    classifier_features,
    classifier_voxels,
    shower_features,
)
from darkop_dist.operators.showers.physics_distance import Distance, frechet_distance, kernel_distance
from darkop_dist.operators.showers.sample import READOUT_MEV, Showers, as_read_out
from darkop_dist.operators.showers.separation import layer_separations, total_separation, voxel_separation

CALOCHALLENGE = "CaloChallenge 2022, arXiv:2410.21611, and its public evaluation code"
SOURCES = {
    "separation": f"eq. 15 of arXiv:2009.03796, binning of {CALOCHALLENGE}; the sparsity's after its participants",
    "classifiers": f"{CALOCHALLENGE}; single instead of double precision",
    "fpd, kpd": f"arXiv:2211.10295 as in jetnet 0.2.5, on the classifier's high-level inputs as in {CALOCHALLENGE}",
    "floor": "two halves of the reference, or another sample of it; as many showers as are scored",
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class ScoreSettings:
    """How scores are made; the defaults are those of their authors.

    Attributes:
        seed: of splits, weights and draws.
        sampling_fraction: what the energies of both samples are divided by; 1 for calibrated files, such as those
            of the CaloChallenge, 0.033 for energies in silicon.
        threshold_mev: voxels below it after that division are set to 0 in both samples.
        low_level: classifier on voxels; None leaves it out.
        high_level: classifier on features.
        fpd_min_samples: smallest batch of the FPD.
        fpd_max_samples: largest batch of the FPD.
        fpd_batches: batches of each of the ten sizes of the FPD.
        kpd_batches: batches of the KPD.
        kpd_batch_size: showers of each.
    """

    seed: int = 0
    sampling_fraction: float = 1.0
    threshold_mev: float = READOUT_MEV
    low_level: ClassifierSettings | None = field(default_factory=lambda: ClassifierSettings(width=2048))
    high_level: ClassifierSettings = field(default_factory=lambda: ClassifierSettings(width=2048))
    fpd_min_samples: int = 20_000
    fpd_max_samples: int = 50_000
    fpd_batches: int = 20
    kpd_batches: int = 10
    kpd_batch_size: int = 5_000


class _Result(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Separations(_Result):
    """Separation powers, 0 to 1; those per layer are in the order of the layers.

    Attributes:
        total_over_incident: of all energy over the particle's.
        voxel_mev: of the energies of all voxels.
        layer_mev: of the energy in each layer.
        centre_eta_mm: of the centre of energy along r cos(alpha).
        centre_phi_mm: of the centre of energy along r sin(alpha).
        width_eta_mm: of the width along r cos(alpha).
        width_phi_mm: of the width along r sin(alpha).
        sparsity: of the share of empty voxels.
    """

    total_over_incident: float
    voxel_mev: float
    layer_mev: tuple[float, ...]
    centre_eta_mm: tuple[float, ...]
    centre_phi_mm: tuple[float, ...]
    width_eta_mm: tuple[float, ...]
    width_phi_mm: tuple[float, ...]
    sparsity: tuple[float, ...]


class ShowerScores(_Result):
    """Scores of one sample of showers against another.

    Attributes:
        showers: showers of each sample.
        separations: separation powers of histograms.
        low_level: classifier on voxels; None where it was left out.
        high_level: classifier on features.
        fpd: Frechet physics distance.
        kpd: kernel physics distance.
    """

    showers: int
    separations: Separations
    low_level: Discrimination | None
    high_level: Discrimination
    fpd: Distance
    kpd: Distance


class ShowerEvaluation(_Result):
    """Scores of generated showers with the floor beside them.

    Attributes:
        generated: scores of the generated showers against simulated ones; None where only the floor was made.
        floor: the same scores of simulated showers against simulated ones, with as many showers.
        settings: how the scores were made.
        sources: who defined what.
    """

    generated: ShowerScores | None
    floor: ShowerScores
    settings: ScoreSettings
    sources: dict[str, str]


def evaluate_showers(
    generated: Showers,
    reference: Showers,
    *,
    settings: ScoreSettings | None = None,
    floor: Showers | None = None,
    say: Say | None = None,
) -> ShowerEvaluation:
    """Score generated showers, and the simulator against itself, against the same simulated showers.

    Without ``floor`` the first half of the reference stands for the simulator and the second half for the floor. All
    samples are cut to the size of the smallest, because separation powers and distances of finite samples depend on it.

    Args:
        generated: showers to be judged.
        reference: showers of the simulator.
        settings: of the scores.
        floor: further showers of the simulator, independent of the reference; none takes half of the reference.
        say: told in sentences how far the work is.

    Raises:
        InputValueError: samples in different voxels, too few showers, or no total energy between 0.5 and 1.5 of that of
            the particle, which is what a wrong sampling fraction does.
    """
    settings = settings or ScoreSettings()
    if floor is None:
        reference, floor = reference[: len(reference) // 2], reference[len(reference) // 2 :]
    count = min(len(generated), len(reference), len(floor))
    tell = say or (lambda _: None)
    tell(f"{count} showers of each sample")
    scores = score_showers(generated[:count], reference[:count], settings, lambda text: tell(f"generated: {text}"))
    found = score_showers(floor[:count], reference[:count], settings, lambda text: tell(f"floor: {text}"))
    return ShowerEvaluation(generated=scores, floor=found, settings=settings, sources=SOURCES)


def evaluate_floor(
    reference: Showers, *, settings: ScoreSettings | None = None, floor: Showers | None = None, say: Say | None = None
) -> ShowerEvaluation:
    """Score the simulator against itself alone: what no generator can be told to be better than.

    Args:
        reference: showers of the simulator; its first half is the reference where ``floor`` is not given.
        settings: of the scores.
        floor: further showers of the simulator; none takes the second half of the reference.
        say: told in sentences how far the work is.

    Raises:
        InputValueError: as for `evaluate_showers`.
    """
    settings, tell = settings or ScoreSettings(), say or (lambda _: None)
    if floor is None:
        reference, floor = reference[: len(reference) // 2], reference[len(reference) // 2 :]
    count = min(len(reference), len(floor))
    tell(f"{count} showers of each sample")
    found = score_showers(floor[:count], reference[:count], settings, lambda text: tell(f"floor: {text}"))
    return ShowerEvaluation(generated=None, floor=found, settings=settings, sources=SOURCES)


def score_showers(
    generated: Showers, reference: Showers, settings: ScoreSettings | None = None, say: Say | None = None
) -> ShowerScores:
    """Score one sample of showers against another of equal size; two of the simulator give the floor.

    Args:
        generated: showers to be judged.
        reference: showers of the simulator.
        settings: of the scores.
        say: told in words which score is being made.

    Raises:
        InputValueError: as for `evaluate_showers`.
    """
    settings, tell = settings or ScoreSettings(), say or (lambda _: None)
    if generated.geometry != reference.geometry:
        shapes = [" x ".join(map(str, one.geometry.shape)) for one in (generated, reference)]
        raise InputValueError(
            "showers", f"generated in {shapes[0]} voxels, reference in {shapes[1]}", "Sum to the same voxels first"
        )
    if len(generated) != len(reference) or len(reference) < LEAST:
        raise InputValueError(
            "showers", f"{len(generated)} beside {len(reference)}", f"Give as many of each, {LEAST} or more"
        )
    samples = [
        as_read_out(one, sampling_fraction=settings.sampling_fraction, threshold_mev=settings.threshold_mev)
        for one in (generated, reference)
    ]
    features = [shower_features(one) for one in samples]
    _check_scale(features[1])
    tell("separation powers")
    separations = Separations(
        total_over_incident=total_separation(*features),
        voxel_mev=voxel_separation(*samples),
        **layer_separations(*features),
    )
    inputs = [classifier_features(one) for one in features]
    draws = {"min_samples": settings.fpd_min_samples, "max_samples": settings.fpd_max_samples}
    tell("FPD")
    fpd = frechet_distance(inputs[1], inputs[0], batches=settings.fpd_batches, seed=settings.seed, **draws)
    tell("KPD")
    kpd = kernel_distance(
        inputs[1], inputs[0], batches=settings.kpd_batches, batch_size=settings.kpd_batch_size, seed=settings.seed
    )
    high = _classify([one.astype(np.float32) for one in inputs], settings.high_level, settings.seed, "high level", tell)
    low = None
    if settings.low_level is not None:
        voxels = [classifier_voxels(one) for one in samples]
        low = _classify(voxels, settings.low_level, settings.seed, "low level", tell)
    return ShowerScores(
        showers=len(reference), separations=separations, low_level=low, high_level=high, fpd=fpd, kpd=kpd
    )


def _classify(
    inputs: list[npt.NDArray[np.float32]], settings: ClassifierSettings, seed: int, name: str, tell: Say
) -> Discrimination:
    tell(f"classifier, {name}")

    def progress(epoch: int) -> None:
        if epoch % 10 == 0:
            tell(f"classifier, {name}: epoch {epoch} of {settings.epochs}")

    return discriminate(inputs[0], inputs[1], seed=seed, settings=settings, progress=progress)


def _check_scale(reference: ShowerFeatures) -> None:
    ratio = float(np.median(reference.total_over_incident))
    if not 0.5 <= ratio <= 1.5:
        raise InputValueError(
            "reference",
            f"half of the showers hold less than {ratio:.3g} of their particle's energy, and the challenge's histogram "
            "covers 0.5 to 1.5",
            "Give the sampling fraction: 0.033 for energies in silicon as Geant4 deposits them",
        )
