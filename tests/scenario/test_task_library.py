"""The library of whole tasks, and what a scenario takes over from it."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from inferencesim.errors import InputError
from inferencesim.scenario.arrivals import AtOnce, ByTasks, Poisson, RecordedTasks
from inferencesim.scenario.library import class_names, load_class
from inferencesim.scenario.loading import library_task, load_scenario, load_varied
from inferencesim.scenario.scenario import Scenario
from inferencesim.scenario.task_library import load_task, task_names
from inferencesim.scenario.task_needs import lines_for
from inferencesim.scenario.tasks import Call, FanOut, Repeat, Tool, Wait, walk

SCENARIO = """\
name: borrowed
horizon: 1min
pools: [{name: p, hardware: nvidia-h100-sxm, model: llama-3.1-8b}]
"""
TOOLS = "tools: [{name: sandboxes, hardware: amd-epyc-9965, cores: 4}]\n"
RESEARCH = TOOLS + "tasks:\n  - like: research_agent\n    models: [llama-3.1-8b]\n"
CHAT = "tasks:\n  - like: guarded_chat\n"
BRANCHES = "tasks:\n  - like: reasoning_branches\n    models: [llama-3.1-8b]\n"
MINE = """\
workload:
  - {like: research_agent_step, name: mine, arrivals: {process: tasks}, promise: {ttft: 3s}, models: [llama-3.1-8b]}
"""


@pytest.fixture
def loaded(tmp_path):
    """Return a function from what a scenario says of tasks, and overrides, to the scenario as it was read."""

    def load(said, *overrides):
        path = tmp_path / "borrowed.yaml"
        path.write_text(SCENARIO + said, encoding="utf-8")
        return load_scenario(path, overrides)

    return load


def refused(load, *words):
    with pytest.raises(InputError) as caught:
        load(*words)
    return str(caught.value)


def test_the_library_has_the_field_s_kinds_of_tasks():
    assert set(task_names()) == {
        "research_agent",
        "research_team",
        "coding_agent",
        "code_migration",
        "reasoning_branches",
        "rag_answer",
        "guarded_chat",
    }


@pytest.mark.parametrize("name", task_names())
def test_every_task_is_whole_and_calls_classes_of_the_library(name):
    each, library = library_task(name), load_task(name, "here")
    assert (each.like, each.name, library.id) == (name, name, name)
    assert each.promise.latency is not None
    assert set(library.calls) == {step.call for _, step in walk(each.steps) if isinstance(step, Call)}
    assert set(library.calls) <= set(class_names())
    assert set(library.tools) <= {"sandboxes"}
    # Workload and tasks share their names: no task of the library stands in the way of a class.
    assert name not in class_names()


@pytest.mark.parametrize("name", task_names())
def test_what_is_not_an_assumption_names_a_source_of_its_own(name):
    for path, source in load_task(name, "here").sources.items():
        assert source.provenance in {"measured", "secondary", "assumption"}, path
        if source.provenance != "assumption":
            assert source.source != "no published figure; chosen", path


@pytest.mark.parametrize("name", task_names())
def test_the_lines_that_are_shown_make_a_scenario(loaded, name):
    scenario = loaded(lines_for(load_task(name, "here")).replace("MODEL", "llama-3.1-8b"))
    assert scenario.tasks[0] == library_task(name)


class TestWhatTheScenarioSaysWins:
    def test_key_by_key(self, loaded):
        said = "    name: agent\n    arrivals: {rate: 3/h}\n    promise: {latency: 5min}\n    timeout: 1h\n"
        task = loaded(RESEARCH + said).tasks[0]
        assert (task.name, task.like, task.timeout, task.promise.latency) == ("agent", "research_agent", 3600.0, 300.0)
        assert isinstance(task.arrivals, Poisson)
        assert task.arrivals.rate == pytest.approx(3 / 3600)
        assert task.steps == library_task("research_agent").steps

    def test_steps_are_replaced_whole(self, loaded):
        task = loaded(RESEARCH + "    steps: [{call: research_agent_step}, {wait: 3s}]\n").tasks[0]
        assert [type(step) for step in task.steps] == [Call, Wait]

    def test_one_number_of_one_step_is_changed_by_its_place(self, loaded):
        library = library_task("reasoning_branches").steps
        for said, overrides in (
            ("    steps: {1: {fan_out: {width: 4}}}\n", ()),
            ("", ("tasks.reasoning_branches.steps[1].fan_out.width=4",)),
        ):
            steps = loaded(BRANCHES + said, *overrides).tasks[0].steps
            assert isinstance(steps[1], FanOut)
            assert steps[1].fan_out.width.value == 4.0
            assert steps[1].fan_out.join == 3
            assert (steps[0], steps[2]) == (library[0], library[2])

    def test_steps_inside_of_steps_are_reached_and_left_out(self, loaded):
        place = "tasks.research_agent.steps[0].repeat.steps[1]"
        (repeat, _) = loaded(RESEARCH, f"{place}.time.high=9s", f"{place}.cores=2").tasks[0].steps
        assert isinstance(repeat, Repeat)
        tool = repeat.repeat.steps[1]
        assert isinstance(tool, Tool)
        assert (tool.time.low, tool.time.high, tool.cores) == (5.0, 9.0, 2)
        (repeat, _) = loaded(RESEARCH, f"{place}=null").tasks[0].steps
        assert [type(step) for step in repeat.repeat.steps] == [Call]

    def test_a_place_that_there_is_not_is_refused(self, loaded):
        said = refused(loaded, RESEARCH, "tasks.research_agent.steps[7].repeat.times=3")
        assert said.endswith("tasks[0].steps[7]: the library has no such entry. It has 2, counted from 0.")
        said = refused(loaded, RESEARCH, "tasks.research_agent.steps[0].repeat.time=3")
        assert "tasks[0].steps[0].repeat.time: unknown key 'time'. Did you mean 'times'?" in said

    def test_a_sweep_varies_what_is_taken_over(self, loaded, tmp_path):
        loaded(BRANCHES)
        key = "tasks.reasoning_branches.steps[1].fan_out.width"
        few, many = load_varied(tmp_path / "borrowed.yaml", [{key: 3}, {key: 16}])
        assert [each.tasks[0].steps[1].fan_out.width.value for each in (few, many)] == [3.0, 16.0]

    def test_a_trace_replaces_the_steps_and_keeps_the_promise(self, loaded, tmp_path):
        (tmp_path / "trace.jsonl").write_text("")
        said = "    arrivals: {process: trace, file: trace.jsonl}\n    calls: mine\n"
        task = loaded(MINE + CHAT.replace("guarded_chat", "coding_agent") + said).tasks[0]
        assert isinstance(task.arrivals, RecordedTasks)
        assert (task.steps, task.calls, task.promise.latency) == ((), "mine", 44 * 60.0)

    def test_the_library_is_not_changed_by_who_takes_it_over(self, loaded):
        before = load_task("research_agent", "here").model_copy(deep=True)
        loaded(RESEARCH + "    tools: {sandboxes: null}\n", "tasks.research_agent.steps[0].repeat.times=2")
        assert load_task("research_agent", "here") == before


class TestItsClasses:
    def test_models_complete_the_workload(self, loaded):
        (each,) = loaded(RESEARCH).workload
        assert (each.name, each.like, each.models) == ("research_agent_step", "research_agent_step", ("llama-3.1-8b",))
        assert isinstance(each.arrivals, ByTasks)
        assert each.conversation is None
        assert each.promise.ttft == 10.0

    def test_models_may_be_said_by_class(self, loaded):
        said = (
            "    models: {safety_classification: llama-guard-3-8b, interactive_chat: [llama-3.1-8b, llama-3.1-70b]}\n"
        )
        workload = {each.name: each.models for each in loaded(CHAT + said).workload}
        assert workload == {
            "safety_classification": ("llama-guard-3-8b",),
            "interactive_chat": ("llama-3.1-8b", "llama-3.1-70b"),
        }

    def test_a_class_of_the_workload_comes_first(self, loaded):
        stated = (
            "workload: [{like: interactive_chat, arrivals: {process: tasks}, priority: 7, models: [llama-3.1-8b]}]\n"
        )
        workload = loaded(stated + CHAT + "    models: [llama-guard-3-8b]\n").workload
        assert [(each.name, each.priority, each.models) for each in workload] == [
            ("interactive_chat", 7, ("llama-3.1-8b",)),
            ("safety_classification", 0, ("llama-guard-3-8b",)),
        ]

    def test_calls_may_be_of_a_class_of_one_s_own(self, loaded):
        said = TOOLS + MINE + "tasks: [{like: research_team, calls: {research_agent_step: mine}}]\n"
        scenario = loaded(said)
        assert [each.name for each in scenario.workload] == ["mine"]
        calls = [step.call for _, step in walk(scenario.tasks[0].steps) if isinstance(step, Call)]
        assert calls == ["mine"] * 4

    def test_two_tasks_share_a_class_if_they_ask_the_same_models(self, loaded):
        team = "  - {like: research_team, models: [llama-3.1-8b]}\n"
        assert len(loaded(RESEARCH + team).workload) == 1
        said = refused(loaded, RESEARCH + team.replace("3.1-8b", "3.1-70b"))
        assert "tasks[1].models: another task asks other models of 'research_agent_step'. Give the workload" in said

    def test_a_class_that_is_missing_is_told_with_the_lines_to_add(self, loaded):
        assert refused(loaded, CHAT).endswith(
            "borrowed.yaml: tasks[0]: no class of the workload is called 'safety_classification' or "
            "'interactive_chat'. Add models: {safety_classification: [MODEL], interactive_chat: [MODEL]} to the task, "
            "or to the workload {like: safety_classification, arrivals: {process: tasks}, models: [MODEL]}."
        )

    @pytest.mark.parametrize(
        ("said", "told"),
        [
            (
                "models: {safety_classification: [a]}",
                "models: says nothing of 'interactive_chat'. Add interactive_chat: [",
            ),
            (
                "models: {safety: [a]}",
                "models.safety: the task calls no class of the library of this name. Did you mean",
            ),
            ("models: 3", "tasks[0].models: 3 is no list of models. Write [MODEL]"),
            ("models: {interactive_chat: [], safety_classification: a}", "models.interactive_chat: [] is no list"),
            ("calls: {chat: mine}", "tasks[0].calls: guarded_chat has no 'chat'. Did you mean 'interactive_chat'?"),
            ("calls: mine", "tasks[0].calls: 'mine' is not a mapping. Write {safety_classification: OTHER}."),
            ("calls: {interactive_chat: null}", "tasks[0].calls.interactive_chat: None is no name"),
            ("calls: {interactive_chat: yours}, models: [a]", "tasks[0]: there is no class 'yours' to call."),
            ("calls: {interactive_chat: ragg}, models: [a]", "no class 'ragg' to call. Did you mean 'rag'?"),
            ("model: [a]", "no class of the workload is called"),
        ],
    )
    def test_a_mistake_names_its_place_and_the_remedy(self, loaded, said, told):
        assert told in refused(loaded, f"tasks: [{{like: guarded_chat, {said}}}]\n")

    def test_models_of_a_class_that_has_its_own_are_refused(self, loaded):
        of_mine = TOOLS + MINE.replace(", name: mine", "") + "tasks: [{like: research_agent, models: %s}]\n"
        said = refused(loaded, of_mine % "[llama-3.1-8b]")
        assert "tasks[0].models: all that this task calls has models of its own, in the workload" in said
        said = refused(loaded, of_mine % "{research_agent_step: [llama-3.1-8b]}")
        assert "tasks[0].models.research_agent_step: the workload has this class, with models of its own" in said

    def test_a_class_that_is_not_written_cannot_be_changed(self, loaded):
        said = refused(loaded, RESEARCH, "workload.research_agent_step.promise.ttft=3s")
        assert "borrowed.yaml: workload: is no list of classes. Write each as an entry, a class that models of" in said
        said = refused(loaded, MINE + RESEARCH, "workload.research_agent_step.promise.ttft=3s")
        assert "no entry is named 'research_agent_step'. " in said

    def test_a_task_that_is_like_none_has_no_models(self, loaded):
        said = refused(loaded, MINE + "tasks: [{name: t, models: [a], steps: [{call: mine}]}]\n")
        assert "tasks[0].models: only a task of the library has models. Name the models in the classes" in said


class TestItsTools:
    def test_they_run_in_a_pool_of_one_s_own(self, loaded):
        said = RESEARCH.replace("sandboxes", "boxes") + "    tools: {sandboxes: boxes}\n"
        steps = loaded(said).tasks[0].steps
        assert [step.tool for _, step in walk(steps) if isinstance(step, Tool)] == ["boxes"]

    def test_without_a_pool_they_are_waited_for(self, loaded):
        said = RESEARCH.removeprefix(TOOLS) + "    tools: {sandboxes: null}\n"
        waits = [step for _, step in walk(loaded(said).tasks[0].steps) if isinstance(step, Wait)]
        assert [(step.wait.low, step.wait.high) for step in waits] == [(5.0, 45.0)]

    def test_a_pool_that_is_missing_is_told_with_the_line_to_add(self, loaded):
        assert refused(loaded, RESEARCH.removeprefix(TOOLS)).endswith(
            "borrowed.yaml: tasks[0]: no tools are called 'sandboxes'. Add tools: [{name: sandboxes, hardware: "
            "amd-epyc-9965, cores: 64}] to the scenario, or to the task tools: {sandboxes: POOL}, a pool of yours, or "
            "null for tools that are only waited for."
        )


def test_an_unknown_task_is_named_with_the_nearest(loaded):
    said = refused(loaded, RESEARCH, "tasks[0].like=research_agnt")
    assert said.endswith("borrowed.yaml: tasks[0].like: unknown task 'research_agnt'. Did you mean 'research_agent'?")


def test_a_resolved_scenario_stands_without_the_library(loaded):
    scenario = loaded(RESEARCH + "    tools: {sandboxes: null}\n    promise: {latency: null}\n")
    (again,) = load_varied(scenario, [{}])
    assert again == scenario
    (other,) = load_varied(scenario, [{"workload.research_agent_step.promise.ttft": 3.0}])
    assert other.workload[0].promise.ttft == 3.0


def test_an_editor_knows_like_and_what_it_spares():
    validator = jsonschema.Draft202012Validator(Scenario.model_json_schema(by_alias=True))
    tree = yaml.safe_load(SCENARIO + RESEARCH)
    assert [error.message for error in validator.iter_errors(tree)] == []
    (task,) = tree["tasks"]
    task["models"] = {"research_agent_step": ["llama-3.1-8b"]}
    assert [error.message for error in validator.iter_errors(tree)] == []
    task["like"] = "research_agnt"
    assert list(validator.iter_errors(tree))
    del task["like"]
    assert list(validator.iter_errors(tree))
    del task["models"]
    task |= {"name": "t", "arrivals": {"process": "poisson", "rate": 1.0}, "steps": [{"call": "c"}]}
    assert [error.message for error in validator.iter_errors(tree)] == []


def test_migrations_begin_together_one_per_repository():
    task = library_task("code_migration")
    repositories = load_class("code_migration_step", "here").content["shared_prefix"]["variants"]
    assert task.arrivals == AtOnce(process="burst", requests=repositories)
