"""A background of free size in every bin, tied between regions by ratios of simulation (transfer factors).

The model of the mono-jet searches (CMS, arXiv:2107.13021, section 6): in bin i the background of the signal region is
mu_i N_SR,i with mu_i free, that of a control region mu_i N_CR,i = mu_i N_SR,i / R_i. Simulation predicts the ratios
R_i = N_SR,i / N_CR,i alone, and what moves both regions alike, such as the luminosity, cancels.

In HistFactory the tied samples share one shapefactor. The simulated events of each stand behind a shapesys of their
own, a Poisson constraint of (sum of weights)^2 / sum of squares counts: two control regions then share the signal
region's statistics, as they must. Systematic uncertainties stay on each sample, correlated by name, so that the ratio
moves by the quotient of both variations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from darkop_dist.errors import StatisticsError
from darkop_dist.limits.channels import Channel, ChannelSample, Draft, Modifier, Parameter
from darkop_dist.limits.modifiers import normsys
from darkop_dist.limits.samples import Floats

LARGEST_FACTOR = 10.0


@dataclass(frozen=True)
class RatioUncertainty:
    """A systematic uncertainty of the ratios between one region and the others, such as an electroweak correction.

    Attributes:
        name: of the nuisance parameter; the same name in several regions is one parameter.
        region: the tied samples of this region vary by it.
        size: relative size of one standard deviation: one number (normsys, log-normal), or one per bin, all moving
            together (histosys); sizes per bin may have either sign.
    """

    name: str
    region: str
    size: float | Sequence[float]

    def modifier(self, nominal: Floats) -> Modifier:
        """The uncertainty of a sample in pyhf's JSON.

        Raises:
            StatisticsError: sizes that are no relative uncertainties, or not one per bin.
        """
        sizes = np.asarray(self.size, dtype=np.float64)
        what = f"the ratio uncertainty {self.name} in region {self.region}"
        if sizes.ndim and sizes.shape != nominal.shape:
            raise StatisticsError(
                f"{what} has {sizes.size} sizes for {nominal.size} bins; give one number or one per bin"
            )
        if not np.all(np.abs(sizes) < 1.0) or not np.any(sizes) or (not sizes.ndim and sizes < 0):
            raise StatisticsError(
                f"{what} has the size {sizes.tolist()}; give a relative size between 0 and 1, or one per bin "
                "between -1 and 1"
            )
        if not sizes.ndim:
            up = 1.0 + float(sizes)
            return normsys(self.name, 1.0 / up, up)
        data = {"lo_data": (nominal * (1.0 - sizes)).tolist(), "hi_data": (nominal * (1.0 + sizes)).tolist()}
        return {"name": self.name, "type": "histosys", "data": data}


@dataclass(frozen=True)
class TransferFactors:
    """Samples of several regions that share one free factor per bin.

    Attributes:
        name: of the factors.
        samples: the tied samples by region: the signal region and its control regions.
        uncertainties: systematic uncertainties of the ratios, beside those of the fit.
    """

    name: str
    samples: Mapping[str, Sequence[str]]
    uncertainties: Sequence[RatioUncertainty] = ()

    def applied(self, draft: Draft) -> Draft:
        """The draft with the samples tied.

        Raises:
            UnknownNameError: a region or sample that takes no part in the fit.
            StatisticsError: one region alone, regions with different bins, a bin where a tied sample expects nothing
                (the ratio is not defined), a sample with another free factor, or sizes that are none.
        """
        channels = [draft.channel(region) for region in self.samples]
        if len(channels) < 2:
            raise StatisticsError(
                f"the transfer factors {self.name} tie the region {', '.join(self.samples) or 'none'} to nothing; "
                "name a signal region and at least one control region"
            )
        for uncertainty in self.uncertainties:
            if uncertainty.region not in self.samples:
                raise StatisticsError(
                    f"the ratio uncertainty {uncertainty.name} is of region {uncertainty.region}, which the transfer "
                    f"factors {self.name} do not tie; they tie {', '.join(self.samples)}"
                )
        for channel in channels[1:]:
            _require_same_bins(self.name, channels[0], channel)
        tied = {channel.name: self._tied(channel) for channel in channels}
        return draft.changed(tied, [self._parameter(channels)])

    @property
    def parameter(self) -> str:
        """Name of the factors, one per bin."""
        return f"transfer_{self.name}"

    def _tied(self, channel: Channel) -> Channel:
        members = [channel.background(name) for name in self.samples[channel.name]]
        if not members:
            raise StatisticsError(f"the transfer factors {self.name} name no sample in region {channel.name}")
        backgrounds = [self._free(channel, found) if found in members else found for found in channel.backgrounds]
        return replace(channel, backgrounds=tuple(backgrounds))

    def _free(self, channel: Channel, sample: ChannelSample) -> ChannelSample:
        """The sample with the free factors, and its statistics apart from those of the other backgrounds."""
        if sample.is_free:
            raise StatisticsError(
                f"sample {sample.name} in region {channel.name} has a free normalisation or is tied twice; the "
                f"transfer factors {self.name} leave it free already"
            )
        empty = channel.bins(sample.template.values <= 0)
        if empty:
            shown = ", ".join(f"{low:g} to {high:g}" for low, high in empty)
            raise StatisticsError(
                f"the transfer factors {self.name} are not defined: sample {sample.name} in region {channel.name} "
                f"expects nothing in the bins {shown}; merge bins or simulate more"
            )
        statistics: Modifier = {
            "name": f"{self.parameter}_statistics_{channel.name}_{sample.name}",
            "type": "shapesys",
            "data": np.sqrt(sample.template.variances).tolist(),
        }
        others = [modifier for modifier in sample.modifiers if modifier["type"] != "staterror"]
        own = [u.modifier(sample.template.values) for u in self.uncertainties if u.region == channel.name]
        factors: Modifier = {"name": self.parameter, "type": "shapefactor", "data": None}
        return replace(sample, modifiers=(factors, *others, *own, statistics))

    def _parameter(self, channels: Sequence[Channel]) -> Parameter:
        """Start and bounds: data of the control regions may ask for factors far above 1."""
        ratios = np.array(list(self._ratios(channels)))
        start = np.clip(ratios[np.argmax([self._events(channel) for channel in channels])], 0.1, None)
        highest = np.maximum(LARGEST_FACTOR, LARGEST_FACTOR * ratios.max(axis=0))
        return {"name": self.parameter, "inits": start.tolist(), "bounds": [[0.0, high] for high in highest.tolist()]}

    def _events(self, channel: Channel) -> float:
        return float(sum(channel.background(name).template.values.sum() for name in self.samples[channel.name]))

    def _ratios(self, channels: Sequence[Channel]) -> Iterator[Floats]:
        """Observed over simulated, without the other backgrounds, shape (bins,)."""
        for channel in channels:
            tied = sum(channel.background(name).template.values for name in self.samples[channel.name])
            yield np.maximum(channel.counts - channel.background_values + tied, 0.0) / tied


def _require_same_bins(name: str, first: Channel, second: Channel) -> None:
    if not np.array_equal(first.edges, second.edges):
        raise StatisticsError(
            f"the transfer factors {name} tie regions with different bins: {first.name} has the edges "
            f"{first.edges.tolist()}, {second.name} {second.edges.tolist()}; give both the same"
        )
