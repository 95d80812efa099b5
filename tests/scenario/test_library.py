"""The library of workload classes, and what a scenario takes over from it."""

from __future__ import annotations

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from inferencesim.errors import InputError
from inferencesim.scenario.arrivals import Closed, Gamma, Poisson, TraceArrivals
from inferencesim.scenario.library import LibraryClass, class_names, load_class, with_library
from inferencesim.scenario.loading import library_class, load_scenario
from inferencesim.scenario.scenario import Scenario

KINDS_OF_WORK = {
    "interactive_chat",
    "coding_copilot",
    "voice_turn",
    "long_context_document",
    "rag",
    "search_rerank",
    "embeddings",
    "safety_classification",
    "batch_summarisation",
    "synthetic_data",
    "research_agent_step",
    "code_migration_step",
    "reasoning",
    "reasoning_branch",
    "answer_verification",
    "coding_agent_step",
    "query_embedding",
    "image_generation",
    "vision_question",
}

SCENARIO = """\
name: borrowed
horizon: 1min
pools: [{name: p, hardware: nvidia-h100-sxm, model: llama-3.1-8b}]
workload:
  - like: interactive_chat
    models: [llama-3.1-8b]
"""


@pytest.fixture
def loaded(tmp_path):
    """Return a function from what a class of the workload says, and overrides, to the class as it was read."""

    def load(said="", *overrides):
        path = tmp_path / "borrowed.yaml"
        path.write_text(SCENARIO + said, encoding="utf-8")
        return load_scenario(path, overrides).workload[0]

    return load


def refused(load, *words):
    with pytest.raises(InputError) as caught:
        load(*words)
    return str(caught.value)


def test_the_library_has_the_field_s_kinds_of_work():
    assert set(class_names()) == KINDS_OF_WORK


@pytest.mark.parametrize("name", class_names())
def test_every_class_is_whole_but_for_its_models(name):
    each = library_class(name)
    assert (each.like, each.name) == (name, name)
    assert each.promise.model_dump(exclude_none=True)
    assert load_class(name, "here").id == name


@pytest.mark.parametrize("name", class_names())
def test_what_is_not_an_assumption_names_a_source_of_its_own(name):
    for path, source in load_class(name, "here").sources.items():
        assert source.provenance in {"measured", "secondary", "assumption"}, path
        if source.provenance != "assumption":
            assert source.source != "no published figure; chosen", path


def a_class(**changed):
    tree = {
        "schema": 1,
        "id": "some_work",
        "description": "Some.",
        "class": {"arrivals": {"process": "poisson", "rate": "2/s"}, "output_tokens": 5},
        "sources": {
            "arrivals": {"provenance": "assumption", "source": "chosen"},
            "output_tokens": {"provenance": "assumption", "source": "chosen"},
        },
    }
    return LibraryClass.model_validate(tree | changed)


def test_a_number_without_source_and_a_source_without_number_are_refused():
    assert [path for path, _ in a_class().unsourced()] == []
    source = {"provenance": "assumption", "source": "chosen"}
    with pytest.raises(ValidationError, match=r"nothing says where arrivals.rate \(2/s\) is from"):
        a_class(sources={"output_tokens": source})
    with pytest.raises(ValidationError, match=r"there is no output_tokens.p95"):
        a_class(sources={"arrivals": source, "output_tokens.p95": source})
    # A longer name that begins alike is another key.
    with pytest.raises(ValidationError, match=r"nothing says where steps \(30\) is from"):
        a_class(**{"class": {"step": 1, "steps": 30}}, sources={"step": source})


def test_what_stands_in_lists_needs_a_source_too():
    source = {"provenance": "assumption", "source": "chosen"}
    content = {"steps": [{"call": "a"}, {"repeat": {"times": 3, "steps": [{"wait": "5s"}]}}]}
    inner = "steps[1].repeat.steps[0].wait"
    kept = a_class(**{"class": content}, sources={"steps[1].repeat.times": source, inner: source})
    assert kept.at(inner) == "5s"
    assert list(kept.unsourced()) == [("steps[0].call", "a")]
    with pytest.raises(ValidationError, match=r"nothing says where steps\[1\].repeat.steps\[0\].wait \(5s\) is from"):
        a_class(**{"class": content}, sources={"steps[1].repeat.times": source})
    # What stands in a step is sourced with it, and not with the one that has its number as a beginning.
    assert a_class(**{"class": content}, sources={"steps[1]": source})
    with pytest.raises(ValidationError, match=r"there is no steps\[2\] in some_work"):
        a_class(**{"class": content}, sources={"steps[1]": source, "steps[2]": source})


def test_a_class_that_says_nothing_is_the_library_s(loaded):
    each = loaded()
    assert each == library_class("interactive_chat").model_copy(update={"models": ("llama-3.1-8b",)})
    assert isinstance(each.arrivals, Gamma)
    assert each.tags.human_waiting


def test_what_stands_in_the_scenario_wins_key_by_key(loaded):
    each = loaded("    name: chat\n    promise: {ttft: 2s}\n    tags: {tenant: acme}\n    priority: 3\n")
    assert (each.name, each.like, each.priority) == ("chat", "interactive_chat", 3)
    assert (each.promise.ttft, each.promise.tpot) == (2.0, 0.05)
    assert (each.tags.tenant, each.tags.human_waiting) == ("acme", True)


def test_a_number_of_a_distribution_alone_changes_that_number(loaded):
    each = loaded("    prompt_tokens: {median: 500}\n    arrivals: {rate: 30/s}\n")
    assert (each.prompt_tokens.median, each.prompt_tokens.p95) == (500.0, 4083.0)
    assert (each.arrivals.rate, each.arrivals.cv) == (30.0, 1.09)


def test_what_names_its_kind_replaces_the_whole(loaded):
    each = loaded("    arrivals: {process: poisson, rate: 12/s}\n    output_tokens: 7\n")
    assert each.arrivals == Poisson(process="poisson", rate=12.0)
    assert each.output_tokens.value == 7.0


def test_null_takes_a_promise_away(loaded):
    assert loaded("    promise: {tpot: null}\n").promise.tpot is None


def test_a_trace_replaces_lengths_and_keeps_tags_and_promise(loaded, tmp_path):
    (tmp_path / "trace.csv").write_text("")
    each = loaded("    arrivals: {process: trace, file: trace.csv}\n")
    assert isinstance(each.arrivals, TraceArrivals)
    assert each.arrivals.file == str(tmp_path / "trace.csv")
    assert each.prompt_tokens is None
    assert (each.promise.ttft, each.tags.human_waiting) == (1.0, True)


def test_tasks_bring_what_their_calls_have_in_common():
    entry = {"like": "research_agent_step", "arrivals": {"process": "tasks"}, "models": ["llama-3.1-8b"]}
    taken = with_library(entry, "here")
    assert "conversation" not in taken
    assert taken["shared_prefix"] == {"tokens": "2000 tokens"}
    assert taken["kv_after"] == "keep"


def test_overrides_reach_what_is_taken_over(loaded):
    each = loaded("", "workload.interactive_chat.prompt_tokens.max=9000", "workload[0].promise.ttft=3s")
    assert (each.prompt_tokens.max, each.prompt_tokens.median) == (9000.0, 1020.0)
    assert (each.promise.ttft, each.promise.tpot) == (3.0, 0.05)
    other = loaded("    name: chat\n", "workload.chat.like=code_migration_step", "workload.chat.arrivals.clients=3")
    assert isinstance(other.arrivals, Closed)
    assert (other.name, other.arrivals.clients, other.kv_after) == ("chat", 3, "keep")


def test_an_unknown_class_is_named_with_the_nearest(loaded):
    said = refused(loaded, "", "workload[0].like=interactive_chatt")
    assert "borrowed.yaml: workload[0].like: unknown workload class 'interactive_chatt'" in said
    assert "Did you mean 'interactive_chat'?" in said


def test_a_mistake_beside_like_still_names_its_place(loaded):
    assert "borrowed.yaml: workload[0].promise.tfft: unknown key 'tfft'" in refused(loaded, "    promise: {tfft: 1s}\n")
    assert "workload[0].prompt_tokens" in refused(loaded, "    prompt_tokens: {median: long}\n")


def test_a_resolved_scenario_stands_without_the_library(loaded):
    dumped = loaded().model_dump(mode="json", by_alias=True)
    assert with_library(dumped, "here") == dumped


def test_the_library_is_not_changed_by_who_takes_it_over(loaded):
    before = load_class("interactive_chat", "here").model_copy(deep=True)
    loaded("    promise: {ttft: 9s}\n", "workload[0].tags.batchable=true")
    assert load_class("interactive_chat", "here") == before


def test_an_editor_knows_like_and_what_it_spares():
    validator = jsonschema.Draft202012Validator(Scenario.model_json_schema(by_alias=True))
    tree = yaml.safe_load(SCENARIO)
    assert [error.message for error in validator.iter_errors(tree)] == []
    tree["workload"][0]["like"] = "interactive_chatt"
    assert list(validator.iter_errors(tree))
    del tree["workload"][0]["like"]
    assert list(validator.iter_errors(tree))
