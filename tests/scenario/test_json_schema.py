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
