"""The schema for editors accepts what the loader accepts."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from inferencesim.package_data import data_folder
from inferencesim.scenario.loading import scenario_names
from inferencesim.scenario.scenario import Scenario


@pytest.fixture(scope="module")
def validator():
    schema = Scenario.model_json_schema(by_alias=True)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", scenario_names())
def test_every_shipped_scenario_is_valid_to_an_editor(validator, name):
    tree = yaml.safe_load((data_folder("scenarios") / f"{name}.yaml").read_text())
    assert [error.message for error in validator.iter_errors(tree)] == []


@pytest.mark.parametrize("key", ["horizn", "pool"])
def test_a_misspelt_key_is_marked(validator, key):
    tree = yaml.safe_load((data_folder("scenarios") / "closed_loop.yaml").read_text())
    assert list(validator.iter_errors(tree | {key: 1}))


def test_an_editor_knows_what_a_class_may_say(validator):
    tree = yaml.safe_load((data_folder("scenarios") / "closed_loop.yaml").read_text())
    said = {
        "priority": 1,
        "acceptance": "70%",
        "kv_after": "keep",
        "length_prediction": {"sigma": 0.5},
        "shared_prefix": {"tokens": "2k tokens"},
        "conversation": {"turns": 5, "max_context": "32k tokens"},
    }
    tree["workload"][0] |= said
    assert [error.message for error in validator.iter_errors(tree)] == []
    for name in said:
        tree["workload"][0][name] = {"nonsense": 1}
        assert list(validator.iter_errors(tree)), name
        tree["workload"][0][name] = said[name]
