"""The base class of models and their names."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from pydantic import BaseModel

from darkop_dist.errors import InputValueError, UnknownNameError
from darkop_dist.operators.card import ModelInput
from darkop_dist.operators.physics_operator import PhysicsOperator, model_named, register_model

COLUMNS = ModelInput(name="columns", shape=(3,), meaning="three", representation="columns", settings={})


class Columns(BaseModel):
    """How many columns."""

    columns: int = 3


@register_model("sum-of-columns-for-a-test")
class SumOfColumns(PhysicsOperator):
    """The sum of the columns."""

    Settings = Columns
    score_meaning = "sum of the columns"

    @classmethod
    def model_inputs(cls, settings: BaseModel) -> tuple[ModelInput, ...]:
        columns = Columns.model_validate(settings).columns
        return (COLUMNS.model_copy(update={"shape": (columns,)}),)

    def score(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return batch["columns"].sum(dim=1)


def test_the_loss_is_the_mean_score_unless_a_model_says_otherwise() -> None:
    model = SumOfColumns(Columns(), (COLUMNS,))
    batch = {"columns": torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])}
    assert model.loss(batch, torch.Generator()).item() == 3.0
    assert model.validation_loss(batch, torch.Generator()).item() == 3.0


def test_a_registered_model_is_found_by_its_name() -> None:
    assert model_named("sum-of-columns-for-a-test") is SumOfColumns


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="sum-of-columns-for-a-test"):
        model_named("sum-of-rows")


def test_a_name_is_not_given_twice() -> None:
    class Other(SumOfColumns):
        """Another one."""

    with pytest.raises(InputValueError, match="the name belongs to SumOfColumns"):
        register_model("sum-of-columns-for-a-test")(Other)


def test_only_operators_get_a_name() -> None:
    with pytest.raises(InputValueError, match="no PhysicsOperator"):
        register_model("a-dictionary")(dict)  # type: ignore[type-var]
