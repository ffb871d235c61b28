"""The state of a histogram says the same as its view, and what is made from it stands alone."""

import boost_histogram as bh
import hist
import numpy as np
import pytest

from darkop_dist.histograms import Observable, book
from darkop_dist.histograms.state import exact_key, numbers_of, storage_of, with_numbers

OBSERVABLE = Observable("x", (0.0, 0.25, 0.3, 1.0), "$x$", "GeV")


@pytest.mark.parametrize("storage", ["Double", "Int64", "AtomicInt64", "Weight", "Mean", "WeightedMean"])
def test_numbers_are_those_of_the_view(storage: str) -> None:
    names = hist.axis.StrCategory(["b", "a"], growth=True, name="name")
    histogram = hist.Hist(names, hist.axis.Regular(3, 0, 1, name="x"), storage=getattr(bh.storage, storage)())
    sample = {"sample": [3.0, 4.0, 5.0]} if "Mean" in storage else {}
    histogram.fill(["a", "c", "c"], [0.1, 0.5, 7.0], **sample)  # the category c is new
    assert storage_of(histogram) == storage
    view = np.asarray(histogram.view(flow=True))
    expected = view.tobytes()
    assert numbers_of(histogram).tobytes() == expected
    assert view.shape == (3, 5)


def test_a_histogram_from_a_template_stands_alone() -> None:
    template = book(OBSERVABLE).fill("mc", ["a", "b"], "nominal", [0.1, 0.9], weight=[2.0, 3.0])
    numbers = np.arange(2.0 * 2 * 5).reshape(1, 2, 1, 5, 2)
    made, other = with_numbers(template, numbers), with_numbers(template, numbers)
    assert numbers_of(made).tolist() == numbers.ravel().tolist()
    assert made.view(flow=True)["variance"][0, 1, 0].tolist() == numbers[0, 1, 0, :, 1].tolist()
    assert template.sum(flow=True).value == 5.0
    assert made == other
    made.axes[3].label = "changed"
    made.fill("mc", "c", "up", 0.1, weight=1.0)
    assert other.axes[3].label == template.axes[3].label == "$x$ [GeV]"
    assert list(other.axes[1]) == list(template.axes[1]) == ["a", "b"]
    assert list(made.axes[1]) == ["a", "b", "c"]
    assert made.copy() == made != other


def test_keys_are_equal_for_equal_axes_alone() -> None:
    first = book(OBSERVABLE).fill("mc", "a", "nominal", 0.1)
    assert exact_key(first) == exact_key(first.copy().fill("mc", "a", "nominal", 0.9))
    others = [
        first.copy().fill("mc", "b", "nominal", 0.1),
        hist.Hist(*list(first.axes)[:3], hist.axis.Variable([0.0, 0.3, 1.0], name="x"), storage="Weight"),
        hist.Hist(*list(first.axes)[:3], hist.axis.Variable([-0.0, 0.3, 1.0], name="x"), storage="Weight"),
        book(Observable("x", OBSERVABLE.edges, "$y$", "GeV")).fill("mc", "a", "nominal", 0.1),
        hist.Hist(*first.axes, storage=hist.storage.Double()),
        hist.NamedHist(*first.axes, storage=hist.storage.Weight()),
        hist.Hist(*list(first.axes)[:3], hist.axis.Variable(OBSERVABLE.edges, underflow=False), storage="Weight"),
    ]
    assert len({exact_key(histogram) for histogram in [first, *others]}) == 8
    assert exact_key(hist.Hist(hist.axis.Regular(3, 0.0, 1.0))) is None
    assert exact_key(hist.Hist(hist.axis.Variable([0.0, 1.0], metadata={"of": 1}))) is None
