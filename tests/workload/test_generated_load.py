"""The load: one table of requests, each class from its own streams."""

from __future__ import annotations

import time

import numpy as np
import pytest

from inferencesim.errors import InputError
from inferencesim.workload.load import generate_load
from inferencesim.workload.streams import session_base

COLUMNS = (
    *("prompt_tokens", "output_tokens", "predicted_tokens", "prefix", "history", "chain", "chain_blocks"),
    *("media_units", "media_s", "session", "patience_s", "cancel_after_s", "task"),
)
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:15:{second:02d}.0000000,{100 + second},{10 + second}\n" for second in range(0, 50, 10)
)
BURST = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n" + "".join(
    f"{second},{session},1,{model},{10 + second},5,9,API log\n"
    for second, session, model in (
        (1, "a", "GPT-4"),
        (2, "", "ChatGPT"),
        (3, "a", "GPT-4"),
        (4, "b", "ChatGPT"),
    )
)


def load_of(*classes, horizon_s=100.0, seed=7, base=None, strict=False):
    return generate_load(classes, horizon_s, seed, base, strict)


def of_class(load, index):
    chosen = load.class_index == index
    return {name: getattr(load, name)[chosen] for name in ("arrived_s", *COLUMNS)}


def same(first, second):
    return all(np.array_equal(first[name], second[name], equal_nan=True) for name in first)


def test_columns_are_equal_in_length_and_sorted(make_class):
    load = load_of(make_class("a"), make_class("b", timeout="30s"))
    assert len({len(getattr(load, name)) for name in ("arrived_s", "class_index", *COLUMNS)}) == 1
    assert (np.diff(load.arrived_s) >= 0).all()
    for index in (0, 1):
        assert of_class(load, index)["task"].tolist() == list(range((load.class_index == index).sum()))
    for name in COLUMNS:
        assert getattr(load, name).dtype in (np.int64, np.float64)
    assert set(of_class(load, 0)["patience_s"]) == {np.inf}
    assert set(of_class(load, 1)["patience_s"]) == {30.0}
    assert set(load.session) == {-1}


def test_ties_are_in_order_of_class_then_task(make_class, tmp_path):
    (tmp_path / "a.csv").write_text(AZURE)
    replay = {"process": "trace", "file": "a.csv"}
    load = load_of(make_class("a", arrivals=replay), make_class("b", arrivals=replay), base=tmp_path)
    assert load.class_index.tolist() == [0, 1] * 5
    assert load.arrived_s.tolist() == [0, 0, 10, 10, 20, 20, 30, 30, 40, 40]


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(make_class):
    first, again, other = (load_of(make_class(), seed=seed) for seed in (7, 7, 8))
    assert same(of_class(first, 0), of_class(again, 0))
    assert not np.array_equal(first.arrived_s, other.arrived_s)


def test_changing_one_class_leaves_the_other_as_it_was(make_class):
    other = make_class(
        "other",
        sessions={"active": 9},
        cancellation={"share": 0.5, "after": "3s"},
        length_prediction={"sigma": 0.5},
    )
    before = load_of(make_class("a"), other)
    changed = make_class(
        "a",
        arrivals={"process": "gamma", "rate": 99, "cv": 5},
        output_tokens=3,
        sessions={"active": 4},
        cancellation={"share": 1, "after": "9s"},
    )
    assert same(of_class(before, 1), of_class(load_of(changed, other), 1))
    assert same(of_class(before, 1), of_class(load_of(other), 0))


def test_the_nth_task_keeps_its_lengths_when_arrivals_change(make_class):
    said = {
        "sessions": {"active": 50},
        "cancellation": {"share": 0.5, "after": {"distribution": "uniform", "low": 1, "high": 9}},
        "length_prediction": {"sigma": 0.5},
        "shared_prefix": {"tokens": 500, "variants": 4},
    }
    poisson = load_of(make_class(**said))
    gamma = load_of(make_class(arrivals={"process": "gamma", "rate": 3, "cv": 4}, **said))
    n = min(len(poisson), len(gamma))
    assert n > 50
    for name in COLUMNS:
        assert np.array_equal(getattr(poisson, name)[:n], getattr(gamma, name)[:n]), name


def test_changing_one_length_leaves_all_else_as_it_was(make_class):
    before, after = load_of(make_class()), load_of(make_class(output_tokens=5))
    for name in ("arrived_s", "prompt_tokens", "session", "cancel_after_s"):
        assert np.array_equal(getattr(before, name), getattr(after, name)), name


def test_sessions_are_drawn_from_those_active_and_apart_from_other_classes(make_class):
    load = load_of(make_class("a", sessions={"active": 20}), make_class("b", sessions={"active": 20}))
    first, second = (set((of_class(load, i)["session"] - session_base(n)).tolist()) for i, n in ((0, "a"), (1, "b")))
    assert first == second == set(range(20))
    assert not set(of_class(load, 0)["session"]) & set(of_class(load, 1)["session"])


def test_a_share_of_requests_is_cancelled(make_class):
    load = load_of(make_class(cancellation={"share": 0.2, "after": "3s"}), horizon_s=1000.0)
    assert np.mean(np.isfinite(load.cancel_after_s)) == pytest.approx(0.2, abs=0.02)
    assert set(load.cancel_after_s) == {3.0, np.inf}


def test_closed_classes_have_no_rows_but_keep_their_number(make_class):
    closed = make_class("c", arrivals={"process": "closed", "clients": 3, "think_time": "1s"})
    load = load_of(closed, make_class())
    assert set(load.class_index) == {1}
    empty = load_of(closed)
    assert len(empty) == 0
    assert empty.task.dtype == np.int64


def test_two_classes_of_one_name_are_refused(make_class):
    with pytest.raises(ValueError, match="share their random streams"):
        load_of(make_class(), make_class())


def test_unknown_processes_and_distributions_are_errors_at_their_place(make_class):
    unknown = {"process": "poison", "rate": 1, "parameters": {}}
    with pytest.raises(InputError, match=r"workload\[1\].arrivals.process"):
        load_of(make_class(), make_class("b", arrivals=unknown))
    with pytest.raises(InputError, match=r"workload\[0\].output_tokens.distribution"):
        load_of(make_class(output_tokens={"distribution": "zipf", "parameters": {}}))


def test_a_trace_is_replayed_row_by_row(make_class, tmp_path):
    (tmp_path / "a.csv").write_text(AZURE)
    load = load_of(make_class(arrivals={"process": "trace", "file": "a.csv"}), base=tmp_path)
    assert load.arrived_s.tolist() == [0, 10, 20, 30, 40]
    assert load.prompt_tokens.tolist() == [100, 110, 120, 130, 140]
    assert load.output_tokens.tolist() == [10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    ("said", "active", "horizon_s", "arrived_s"),
    [
        ({"rate_scale": 2}, {}, 100, [0, 5, 10, 15, 20]),
        ({"rate_scale": 0.5}, {}, 70, [0, 20, 40, 60]),
        ({"window": {"from": 15, "length": 20}}, {}, 100, [5, 15]),
        ({"window": {"from": 15, "length": 20}, "rate_scale": 2}, {}, 100, [2.5, 7.5]),
        ({}, {"from": 50, "to": 75}, 100, [50, 60, 70]),
        ({}, {}, 10, [0]),
        ({}, {"from": 50}, 10, []),
    ],
)
def test_window_scale_and_active_time_move_a_trace(make_class, tmp_path, said, active, horizon_s, arrived_s):
    (tmp_path / "a.csv").write_text(AZURE)
    cls = make_class(arrivals={"process": "trace", "file": "a.csv", **said}, active=active)
    assert load_of(cls, horizon_s=horizon_s, base=tmp_path).arrived_s.tolist() == arrived_s


def test_classes_map_different_rows_of_one_file(make_class, tmp_path):
    (tmp_path / "b.csv").write_text(BURST)
    classes = [
        make_class(m, arrivals={"process": "trace", "file": "b.csv", "select": {"Model": m}})
        for m in ("GPT-4", "ChatGPT")
    ]
    load = load_of(*classes, base=tmp_path)
    assert load.class_index.tolist() == [0, 1, 0, 1]
    assert (of_class(load, 0)["session"] - session_base("GPT-4")).tolist() == [0, 0]
    assert of_class(load, 1)["session"].tolist() == [-1, session_base("ChatGPT") + 1]
    wrong = make_class(arrivals={"process": "trace", "file": "b.csv", "select": {"Model": "GPT4"}})
    with pytest.raises(InputError, match=r"workload\[0\].arrivals.select.Model: .* Did you mean 'GPT-4'"):
        load_of(wrong, base=tmp_path)


def test_quantised_rows_are_spread_alike_for_all_classes(make_class, tmp_path):
    rows = "".join(f"{3 * (i // 10)},,1,{'GPT-4' if i % 2 else 'ChatGPT'},10,5,9,API log\n" for i in range(200))
    (tmp_path / "q.csv").write_text(BURST.splitlines()[0] + "\n" + rows)

    def replay(name, **said):
        return make_class(name, arrivals={"process": "trace", "file": "q.csv", **said})

    whole = load_of(replay("all"), base=tmp_path).arrived_s
    split = load_of(*(replay(m, select={"Model": m}) for m in ("GPT-4", "ChatGPT")), base=tmp_path).arrived_s
    assert np.array_equal(whole, split)
    assert len(set(whole)) == 200
    assert len(set(load_of(replay("all", spread="0s"), base=tmp_path).arrived_s)) == 20


def test_malformed_rows_are_handed_on_once_and_raised_when_strict(make_class, tmp_path):
    (tmp_path / "a.csv").write_text(AZURE + "yesterday,1,2\n")
    classes = [make_class(name, arrivals={"process": "trace", "file": "a.csv"}) for name in ("a", "b")]
    load = load_of(*classes, base=tmp_path)
    assert [(row.file, row.line) for row in load.malformed] == [(str(tmp_path / "a.csv"), 7)]
    with pytest.raises(InputError, match="line 7"):
        load_of(*classes, base=tmp_path, strict=True)


def test_a_million_requests_take_about_a_second(make_class):
    classes = [make_class(name, arrivals={"process": "poisson", "rate": 5000}) for name in ("a", "b")]
    began = time.process_time()
    load = load_of(*classes)
    assert len(load) == pytest.approx(1_000_000, rel=0.01)
    # Generous, for slow and busy machines: row by row it would take half a minute.
    assert time.process_time() - began < 4.0
