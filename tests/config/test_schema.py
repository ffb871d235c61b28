"""The JSON schema accepts good documents, rejects bad ones, and describes every key."""

import jsonschema
import pytest

from darkop_dist.config.schema import document_schema

DOCUMENT = {
    "name": "search",
    "datasets": ["cms-2016g-met", {"name": "a", "kind": "simulation", "files": ["a.csv", {"uri": "b.root"}]}],
    "processor": "a.py:B",
    "operator": {"train": {"model": "density", "datasets": "a", "columns": ["x"], "transforms": {"x": "log"}}},
    "anomaly_detection": {"background": ["a"], "alpha": 0.001},
    "signal_region": "MET > 250 GeV",
    "systematics": ["luminosity"],
    "limits": {"signal": "a", "normalisation": {"a": 0.1, "b": [0.1, 0.2]}, "bins": [1, 2]},
    "execution": {"where": "dask://host:8786"},
}


def test_good_document() -> None:
    schema = document_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(DOCUMENT, schema)


@pytest.mark.parametrize("change", [{"nme": "x"}, {"systematics": ["lumi"]}, {"datasets": []}, {"signal_region": 3}])
def test_bad_document(change: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(DOCUMENT | change, document_schema())


def test_every_key_is_described() -> None:
    schema = document_schema()
    objects = {"Document": schema, **schema["$defs"]}
    bare = [
        f"{name}.{key}"
        for name, body in objects.items()
        for key, value in body.get("properties", {}).items()
        if not value.get("description")
    ]
    assert bare == []
    assert {"Limits", "DatasetRecord", "Training"} <= objects.keys()
