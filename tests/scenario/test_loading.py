"""From YAML text and overrides to a scenario; every mistake is told with its place and its remedy."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from inferencesim.errors import InputError
from inferencesim.scenario.loading import (
    find_scenario,
    load_scenario,
    load_varied,
    scenario_names,
    variant_names,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = """\
schema: 1
name: two-pools
horizon: 10min
pools:
  - name: premium
    hardware: nvidia-h100-sxm
    model: llama-3.1-8b
    replicas: 2
  - name: slow
    hardware: nvidia-l4
    model: llama-3.1-8b
    precision: fp8
workload:
  - name: chat
    arrivals: {process: poisson, rate: 4/s}
    prompt_tokens: {distribution: lognormal, median: 500, p95: 2000}
    output_tokens: 100
    models: [llama-3.1-8b]
    promise: {ttft: 1s}
routing:
  placement: {policy: cheapest_feasible, parameters: {margin: 0.5}}
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write the scenario, with some text replaced."""

    def write(old: str = "", new: str = "", text: str = TEXT) -> Path:
        assert old in text
        path = tmp_path / "scenario.yaml"
        path.write_text(text.replace(old, new, 1) if old else text, encoding="utf-8")
        return path

    return write


def refused(path: Path | str, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        load_scenario(path, overrides)
    return str(caught.value)


def test_a_scenario_is_read_in_si(written):
    scenario = load_scenario(written())
    assert scenario.name == "two-pools"
    assert scenario.horizon == 600.0
    assert scenario.workload[0].arrivals.rate == 4.0
    assert scenario.workload[0].promise.ttft == 1.0
    assert [pool.replicas for pool in scenario.pools] == [2, 1]
    assert scenario.pools[1].precision.weights == "fp8"
    assert scenario.routing.placement.parameters == {"margin": 0.5}
    assert scenario.routing.balancing.policy == "least_outstanding"


@pytest.mark.parametrize("name", scenario_names())
def test_every_shipped_scenario_loads_by_its_name(name):
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.question


# --- Overrides ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "read", "expected"),
    [
        ("pools[0].replicas=8", lambda s: s.pools[0].replicas, 8),
        ("pools.premium.replicas=8", lambda s: s.pools[0].replicas, 8),
        ("pools.1.replicas=8", lambda s: s.pools[1].replicas, 8),
        ("workload.chat.arrivals.rate=120/min", lambda s: s.workload[0].arrivals.rate, 2.0),
        ("workload[0].promise.ttft=500ms", lambda s: s.workload[0].promise.ttft, 0.5),
        ("workload[0].promise={tpot: 50ms}", lambda s: s.workload[0].promise.ttft, None),
        ("workload[0].models=[llama-3.1-8b, phi-4]", lambda s: len(s.workload[0].models), 2),
        ("workload[0].models[0]=phi-4", lambda s: s.workload[0].models[0], "phi-4"),
        ("horizon=1h", lambda s: s.horizon, 3600.0),
        ("economics.pue=1.5", lambda s: s.economics.pue, 1.5),
        ("pools.slow.batching.kv=reserve", lambda s: s.pools[1].batching.kv, "reserve"),
        ("routing.balancing=random", lambda s: s.routing.balancing.policy, "random"),
        ("routing.placement.parameters.margin=0.9", lambda s: s.routing.placement.parameters["margin"], 0.9),
        (
            "workload.chat.answers={difficulty: 0.5, curves: {llama-3.1-8b: {ability: 1}}}",
            lambda s: s.workload[0].answers.curves["llama-3.1-8b"].ability,
            1.0,
        ),
        ("question=a = b", lambda s: s.question, "a = b"),
    ],
)
def test_an_override_sets_one_value(written, override, read, expected):
    assert read(load_scenario(written(), [override])) == expected


def test_a_name_with_dots_is_written_in_brackets(written):
    path = written()
    difficulty = "workload.chat.answers.difficulty=0.5"
    scenario = load_scenario(path, [difficulty, "workload.chat.answers.curves[llama-3.1-8b].ability=1"])
    assert scenario.workload[0].answers.curves["llama-3.1-8b"].ability == 1.0
    assert refused(path, difficulty, "workload.chat.answers.curves.llama-3.1-8b.ability=1") == (
        "--set workload.chat.answers.curves.llama-3.1-8b.ability: the name 'llama-3.1-8b' has dots, which part a path. "
        "Write workload.chat.answers.curves[llama-3.1-8b].ability."
    )
    assert "answers.curves[llama-3.1-8b].abilty: unknown key 'abilty'" in refused(
        path, difficulty, "workload.chat.answers.curves[llama-3.1-8b].abilty=1"
    )
    varied = load_varied(path, [{"workload.chat.answers.curves[llama-3.1-8b].ability": 2}], [difficulty])
    assert varied[0].workload[0].answers.curves["llama-3.1-8b"].ability == 2.0


def test_an_override_of_what_an_alias_repeats_is_of_one_place(written):
    text = TEXT.replace("precision: fp8", "batching: *small")
    path = written("replicas: 2", "batching: &small {max_sequences: 8}", text)
    premium, slow = load_scenario(path, ["pools.slow.batching.max_sequences=2"]).pools
    assert (premium.batching.max_sequences, slow.batching.max_sequences) == (8, 2)


def test_later_overrides_win_and_a_seed_of_its_own_wins_over_all(written):
    scenario = load_scenario(written(), ["seed=3", "seed=4"])
    assert scenario.seed == 4
    assert load_scenario(written(), ["seed=3"], seed=9).seed == 9


def test_an_override_leaves_the_file_alone(written):
    path = written()
    load_scenario(path, ["pools[0].replicas=8"])
    assert path.read_text(encoding="utf-8") == TEXT


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("pools[0].replicas", ["--set pools[0].replicas", "path=value"]),
        ("=8", ["path=value"]),
        (".=8", ["--set ."]),
        ("pools[7].replicas=8", ["--set pools[7].replicas", "index 7 is out of range", "2 entries"]),
        ("pools[2]={}", ["index 2 is out of range"]),
        ("pools.premum.replicas=8", ["no entry is named 'premum'", "Did you mean 'premium'?"]),
        ("pools[0].replicsa=8", ["pools[0].replicsa", "unknown key 'replicsa'", "Did you mean 'replicas'?"]),
        ("pools[0].replicas=many", ["pools[0].replicas", "integer"]),
        ("pools[0].replicas=[1", ["--set pools[0].replicas"]),
        ("name.first=x", ["--set name.first"]),
        ("horizon.length.unit=x", ["--set horizon.length.unit"]),
        ("econmics.pue=1.2", ["unknown key 'econmics'", "Did you mean 'economics'?"]),
    ],
)
def test_a_wrong_override_is_told(written, override, said):
    message = refused(written(), override)
    for words in said:
        assert words in message


# --- Mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("horizon:", "horizn:", ["horizn: unknown key 'horizn'", "Did you mean 'horizon'?"]),
        ("hardware: nvidia-l4", "hardwares: nvidia-l4", ["pools[1].hardwares", "Did you mean 'hardware'?"]),
        ("rate: 4/s", "rat: 4/s", ["workload[0].arrivals.rat:", "Did you mean 'rate'?"]),
        ("median: 500", "medain: 500", ["workload[0].prompt_tokens.medain:", "Did you mean 'median'?"]),
        ("ttft: 1s", "tftt: 1s", ["workload[0].promise.tftt:", "Did you mean 'ttft'?"]),
        ("    hardware: nvidia-l4\n", "", ["pools[1].hardware", "missing"]),
        ("horizon: 10min\n", "", ["horizon", "missing"]),
        ("rate: 4/s", "rate: 4 GB", ["workload[0].arrivals.rate", "'4 GB' is not a rate", "40/s"]),
        ("rate: 4/s", "rate: -4/s", ["workload[0].arrivals.rate", "greater than 0"]),
        ("horizon: 10min", "horizon: 10 parsecs", ["horizon", "not a time", "'1h'"]),
        ("horizon: 10min", "horizon: 0", ["horizon", "greater than 0"]),
        ("replicas: 2", "replicas: 0", ["pools[0].replicas", "greater than or equal to 1"]),
        ("replicas: 2", "replicas: 2.5", ["pools[0].replicas"]),
        ("precision: fp8", "precision: fp7", ["pools[1].precision", "fp7", "Did you mean 'fp"]),
        ("process: poisson", "process: posson", ["workload[0].arrivals", "Did you mean 'poisson'"]),
        ("distribution: lognormal", "distribution: normal", ["workload[0].prompt_tokens", "'lognormal'"]),
        ("schema: 1", "schema: 2", ["schema", "2 is not"]),
        ("name: two-pools", "name: two pools", ["name"]),
        ("name: slow", "name: premium", ["'premium' is used twice"]),
        ("margin: 0.5", "margin: much", ["routing.placement.parameters.margin"]),
        ("horizon: 10min", "horizon: 10min\nwarm_up: 1h", ["warm_up", "before the horizon"]),
        ("  - name: premium", "  premium", ["scenario.yaml, line"]),
        ("horizon: 10min", "horizon: 10min\nhorizon: 20min", ["line 4", "'horizon' is given twice"]),
        ("replicas: 2", "replicas: 2\n    model: phi-4", ["line 9", "'model' is given twice"]),
        (TEXT[TEXT.index("workload:") : TEXT.index("routing:")], "workload: 5\n", ["workload", "list"]),
        (TEXT[TEXT.index("pools:") : TEXT.index("workload:")], "pools: none\n", ["pools", "list"]),
        ("arrivals: {process: poisson, rate: 4/s}", "arrivals: often", ["workload[0].arrivals", "mapping"]),
        ("schema: 1", "1: schema", ["Keys should be strings", "1"]),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_path_and_remedy(written, old, new, said):
    message = refused(written(old, new))
    assert "scenario.yaml" in message
    for words in said:
        assert words in message


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "failures=[{slow: premium, mtbf: 1h, mttr: 1min, factor: 2, timeout: 3}]",
            "failures[0].timeout: unknown key 'timeout'. Known: at, factor, for, mtbf, mttr, share, slow.",
        ),
        ("failures=[{replica: premium, at: 1h}]", "failures[0]: it has either at and for, or mtbf and mttr"),
        ("workload.chat.arrivals.cv=2", "arrivals.cv: unknown key 'cv'. Known: process, profile, rate"),
        (
            "workload.chat.answers={difficulty: 0.5, start: {treshold: 0.2}}",
            "answers.start.treshold: unknown key 'treshold'. Did you mean 'threshold'?",
        ),
        (
            "workload.chat.answers={difficulty: 0.5, curves: {phi-4: {abilty: 0.2}}}",
            "answers.curves.phi-4.abilty: unknown key 'abilty'. Did you mean 'ability'?",
        ),
    ],
)
def test_an_unknown_key_is_told_with_the_keys_of_its_own_kind(written, override, said):
    assert said in refused(written(), override)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("{threshold: 2}", "answers.start.threshold: Input should be less than or equal to 1 (got 2)"),
        ("firts", "answers.start: 'firts' is not one of any, first. Did you mean 'first'?"),
    ],
)
def test_a_part_of_several_kinds_is_wrong_as_what_it_was_meant_as(written, start, said):
    assert said in refused(written(), f"workload.chat.answers={{difficulty: 0.5, start: {start}}}")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "failures=[{slow: premum, at: 1min, for: 1min, factor: 2}]",
            "there is no pool 'premum'. Did you mean 'premium'?",
        ),
        ("flow.quotas={chatt: {in_flight: 1}}", "no class is of the tenant 'chatt'. Did you mean 'chat'?"),
        ("workload.chat.arrivals={process: posson}", "unknown process 'posson'. Did you mean 'poisson'?"),
        (
            "tasks=[{name: t, arrivals: {process: poisson, rate: 1/s}, steps: [{cal: chat}]}]",
            "needs one of the keys call, tool, wait, repeat, fan_out. Did you mean 'call'?",
        ),
        (
            "tasks=[{name: t, arrivals: {process: poisson, rate: 1/s}, steps: [{call: chat}]}]",
            "no class 'chat' has arrivals {process: tasks}. None is known.",
        ),
    ],
)
def test_the_nearest_name_is_a_sentence_of_its_own(written, override, said):
    assert refused(written(), override).endswith(said)


@pytest.mark.parametrize(
    ("branches", "most"),
    [
        ("width: 3, join: 4", 3),
        ("width: 3, takes: 4", 3),
        ("width: {distribution: uniform, low: 1, high: 5}, join: 6", 5),
        ("width: {distribution: histogram, values: [2, 4, 8], weights: [1, 1, 0]}, join: 5", 4),
        ("width: {distribution: histogram, edges: [1, 3, 6], weights: [1, 1]}, join: 7", 6),
        ("width: {distribution: lognormal, median: 2, p95: 4, max: 6}, join: 7", 6),
        ("width: {distribution: lognormal, median: 2, p95: 4}, join: 7", None),
        ("width: 3, join: 3", None),
    ],
)
def test_no_more_branches_are_joined_than_there_can_be(written, branches, most):
    steps = f"[{{fan_out: {{{branches}, steps: [{{call: chat}}]}}}}]"
    overrides = [
        "workload.chat.arrivals={process: tasks}",
        f"tasks=[{{name: t, arrivals: {{process: poisson, rate: 1/s}}, steps: {steps}}}]",
    ]
    if most is None:
        assert load_scenario(written(), overrides).tasks
    else:
        assert (
            f"fan_out: {'takes' if 'takes' in branches else 'join'} is {branches[-1]}, and there are at most {most}"
            in (refused(written(), *overrides))
        )


def test_a_bare_value_is_wrong_where_it_stands(written):
    assert "workload[0].output_tokens: Input should be greater than 0" in refused(
        written(), "workload.chat.output_tokens=-3"
    )


def test_a_scenario_without_pools_is_none(written):
    text = TEXT[: TEXT.index("pools:")] + "pools: []\n"
    assert "pools" in refused(written(text=text))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n", "5\n"])
def test_a_document_must_be_a_mapping(written, text):
    assert "mapping" in refused(written(text=text))


def test_a_binary_file_is_no_scenario(tmp_path):
    path = tmp_path / "picture.yaml"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe\x00\x00")
    message = refused(path)
    assert "picture.yaml" in message
    assert "UTF-8" in message


def test_control_characters_are_no_yaml(written):
    assert "scenario.yaml" in refused(written(text="name: \x00\x01"))


def test_a_byte_order_mark_does_no_harm(tmp_path):
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert load_scenario(path).name == "two-pools"


def test_a_folder_is_no_scenario(tmp_path):
    assert "is a folder" in refused(tmp_path)


def test_a_name_that_is_neither_file_nor_shipped_is_told_with_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused("mixed_flet")
    assert "Did you mean 'mixed_fleet'?" in message
    assert "no such scenario" in refused("missing/scenario.yaml")
    assert "no such scenario" in refused("../scenarios/mixed_fleet")
    assert find_scenario("mixed_fleet").name == "mixed_fleet.yaml"


def test_a_file_in_the_current_folder_goes_before_a_shipped_scenario(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mixed_fleet").write_text(TEXT, encoding="utf-8")
    assert load_scenario("mixed_fleet").name == "two-pools"


def test_trace_files_are_found_beside_the_scenario(tmp_path, monkeypatch):
    folder = tmp_path / "deep"
    folder.mkdir()
    path = folder / "scenario.yaml"
    text = TEXT.replace("{process: poisson, rate: 4/s}", "{process: trace, file: ../load.csv}")
    for line in ("    prompt_tokens: {distribution: lognormal, median: 500, p95: 2000}\n", "    output_tokens: 100\n"):
        text = text.replace(line, "")
    path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(folder)
    assert load_scenario("scenario.yaml").workload[0].arrivals.file == str(tmp_path / "load.csv")
    monkeypatch.chdir(tmp_path)
    assert load_scenario(path).workload[0].arrivals.file == str(tmp_path / "load.csv")


def test_the_profile_of_tools_is_found_beside_the_scenario(tmp_path):
    path = tmp_path / "scenario.yaml"
    path.write_text(TEXT + "tools: [{name: boxes, hardware: ours.yaml, cores: 8}]\n", encoding="utf-8")
    assert load_scenario(path).tools[0].hardware == str(tmp_path / "ours.yaml")


VARIANTS = """
    name: base
    horizon: 10s
    pools:
    - {name: a, hardware: nvidia-h100-sxm, model: llama-3.1-8b}
    - {name: b, hardware: nvidia-h100-sxm, model: llama-3.1-8b}
    variants:
      larger: {pools.a.replicas: 3}
      alone: {pools.b: null, routing.placement: {policy: premium_first}}
    """


class TestVariants:
    @pytest.fixture
    def file(self, tmp_path):
        path = tmp_path / "scenario.yaml"
        path.write_text(textwrap.dedent(VARIANTS))
        return path

    def test_are_listed_and_leave_the_scenario_itself_alone(self, file):
        assert variant_names(file) == ["larger", "alone"]
        base = load_scenario(file)
        assert base.variant is None
        assert [each.replicas for each in base.pools] == [1, 1]

    def test_change_what_they_say(self, file):
        larger, alone = (load_scenario(file, variant=name) for name in ("larger", "alone"))
        assert (larger.variant, larger.pools[0].replicas) == ("larger", 3)
        assert [each.name for each in alone.pools] == ["a"]
        assert alone.routing.placement.policy == "premium_first"

    def test_overrides_come_after_them(self, file):
        assert load_scenario(file, ["pools.a.replicas=7"], variant="larger").pools[0].replicas == 7

    def test_an_override_with_null_leaves_an_entry_out(self, file):
        assert [each.name for each in load_scenario(file, ["pools.a=null"]).pools] == ["b"]

    @pytest.mark.parametrize(
        ("change", "variant", "what"),
        [
            ("", "largr", "describes no variant 'largr'. Did you mean 'larger'"),
            ("  wrong: {pools.c.replicas: 3}\n", "wrong", r"variants.wrong: pools.c.replicas: no entry is named 'c'"),
            ("  wrong: {pools.a.replicas: -1}\n", "wrong", "replicas"),
            ("  wrong: 3\n", "wrong", "is no mapping of names to changes"),
        ],
    )
    def test_what_is_wrong_with_one_is_named(self, file, change, variant, what):
        file.write_text(file.read_text() + change)
        with pytest.raises(InputError, match=what):
            load_scenario(file, variant=variant)
