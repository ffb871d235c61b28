"""Impacts against closed forms and cabinetry."""

from __future__ import annotations

import copy
from collections.abc import Callable

import cabinetry
import hist
import pytest

from darkop_dist.errors import FitError
from darkop_dist.limits import FitSample, Workspace, build_workspace, rank
from darkop_dist.limits.backend import numpy_backend
from darkop_dist.limits.likelihood import Data, Likelihood, Minimum

Filled = dict[tuple[str, str, str], list[float]]


@pytest.fixture
def workspace(booked: Callable[..., hist.Hist], filled: Filled, samples: list[FitSample]) -> Workspace:
    return build_workspace(
        booked(filled), samples, signal="zprime", regions=["signal"], systematics=["jes"],
        normalisation={"top": 0.1, "multijet": 0.1},
    )  # fmt: skip


def test_one_normalisation_in_closed_form(counting: Callable[..., Workspace]) -> None:
    """With b (1 + 10%) + 5 mu = n: at +1 standard deviation mu is lower by 0.1 b/5."""
    spec = copy.deepcopy(counting(5.0, 50.0, 53.0).spec)
    norm = {"name": "norm", "type": "normsys", "data": {"hi": 1.1, "lo": 1 / 1.1}}
    spec["channels"][0]["samples"][0]["modifiers"].append(norm)
    ranking = rank(Workspace("s", spec, "data"))
    assert ranking.mu_hat == pytest.approx(0.6, abs=1e-6)
    (impact,) = ranking.impacts
    assert (impact.name, impact.pull) == ("norm", pytest.approx(0.0, abs=1e-6))
    assert impact.up == pytest.approx(-1.0, abs=1e-5)
    assert impact.down == pytest.approx(50 * (1 - 1 / 1.1) / 5, abs=1e-5)
    assert impact.prefit_up == pytest.approx(impact.up, abs=1e-4)
    assert ranking.problems == ()
    # mu's variance: n / 5^2 + (0.1 b / 5)^2, with the log-normal's slope ln 1.1
    assert ranking.mu_hat_uncertainty == pytest.approx((53 + (50 * 0.0953) ** 2) ** 0.5 / 5, rel=1e-3)


def test_agrees_with_cabinetry(workspace: Workspace) -> None:
    """Minuit stops within an estimated distance of 2e-4: 1.4% of a standard deviation of mu."""
    ours = rank(workspace)
    spec = copy.deepcopy(workspace.spec)
    spec["measurements"][0]["config"]["parameters"][0]["bounds"] = [[-5.0, 20.0]]
    with numpy_backend():
        model, data = cabinetry.model_utils.model_and_data(spec)
        theirs = cabinetry.fit.ranking(model, data)
    by_name = {impact.name: impact for impact in ours.impacts}
    assert set(by_name) == set(theirs.labels)
    close = 0.03 * ours.mu_hat_uncertainty
    for i, name in enumerate(theirs.labels):
        found = by_name[name]
        assert found.up == pytest.approx(theirs.postfit_up[i], abs=close)
        assert found.down == pytest.approx(theirs.postfit_down[i], abs=close)
        if found.prefit_up is not None:
            assert found.prefit_up == pytest.approx(theirs.prefit_up[i], abs=close)
            assert found.prefit_down == pytest.approx(theirs.prefit_down[i], abs=close)
    sizes = [impact.size for impact in ours.impacts]
    assert sizes == sorted(sizes, reverse=True)


def test_a_parameter_that_fails_is_reported(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    complete, original = rank(workspace), Likelihood.fit
    lost = complete.impacts[2].name

    def failing(self: Likelihood, data: Data, *rest: object, fixed: dict[int, float] | None = None) -> Minimum:
        if fixed and self.model.parameters.names[next(iter(fixed))] == lost:
            raise FitError("out of order")
        return original(self, data, *rest, fixed=fixed)

    monkeypatch.setattr(Likelihood, "fit", failing)
    ranking = rank(workspace)
    assert ranking.impacts == (*complete.impacts[:2], *complete.impacts[3:])
    assert ranking.problems == (f"the impact of {lost} is left out: out of order",)
