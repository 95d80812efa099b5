"""Workers may die: each loses its own piece only, which another one does again."""

from __future__ import annotations

import functools
import os
import signal
import time
from pathlib import Path

import pytest
from oracle.pieces import die, fail, fail_stubbornly, leave, make_a_lambda, note

from inferencesim.experiments.execution import Died, Done, Raised, carry_out
from inferencesim.experiments.parallel import on_processes, run_all
from inferencesim.experiments.processes import Processes


def attempts(folder):
    return {path.name: len(path.read_text()) for path in Path(folder).iterdir()}


def on_two(pieces):
    with Processes(2) as crew:
        return dict(carry_out(enumerate(pieces), crew))


def test_who_dies_loses_one_piece_which_is_done_again(tmp_path):
    pieces = [functools.partial(note, tmp_path, f"piece-{number}") for number in range(10)]
    pieces[3] = functools.partial(die, tmp_path, "piece-3", 1)
    found = on_two(pieces)
    assert found == {number: Done(f"piece-{number}") for number in range(10)}
    assert attempts(tmp_path) == {f"piece-{number}": 2 if number == 3 else 1 for number in range(10)}


def test_a_piece_that_kills_twice_is_given_up(tmp_path):
    pieces = [functools.partial(note, tmp_path, f"piece-{number}") for number in range(6)]
    pieces[0] = functools.partial(die, tmp_path, "piece-0", 9)
    pieces[4] = leave
    found = on_two(pieces)
    assert found[0] == Died("its process was ended by SIGKILL")
    assert found[4] == Died("its process ended with exit code 7")
    assert [found[number] for number in (1, 2, 3, 5)] == [Done(f"piece-{number}") for number in (1, 2, 3, 5)]
    assert attempts(tmp_path)["piece-0"] == 2
    with pytest.raises(RuntimeError, match=r"piece 2 of the work was given up after 2 attempts: .*exit code 7"):
        run_all([os.getpid, leave], jobs=2, pieces_per_process=1)


def test_a_worker_that_dies_with_nothing_to_do_costs_no_piece(tmp_path):
    with Processes(1) as crew:
        (first,) = [outcome.value for _, outcome in carry_out([(0, os.getpid)], crew)]
        os.kill(first, signal.SIGKILL)
        time.sleep(0.2)
        piece = functools.partial(die, tmp_path, "piece", 1)
        assert [outcome for _, outcome in carry_out([(0, piece)], crew)] == [Done("piece")]


def test_exceptions_come_back_as_they_are_or_in_words():
    found = on_two([fail, fail_stubbornly, make_a_lambda, os.getpid])
    assert isinstance(found[0].problem, ValueError)
    assert str(found[1].problem) == "StubbornError: 1"
    assert "pickle" in str(found[2].problem)
    assert isinstance(found[3], Done)
    with pytest.raises(ValueError, match="on purpose"):
        run_all([fail] * 2, jobs=2, pieces_per_process=1)
    with pytest.raises(ValueError, match="on purpose"):
        run_all([fail])


def test_pieces_are_asked_for_when_somebody_is_idle():
    asked = []

    def coming():
        for number in range(6):
            asked.append(number)
            yield number, functools.partial(time.sleep, 0.01)

    for done, _ in enumerate(on_processes(coming(), 2), 1):
        assert len(asked) <= done + 2
    assert asked == list(range(6))


def test_no_process_outlives_its_crew():
    with Processes(2) as crew:
        for place in range(2):
            crew.give(place, functools.partial(time.sleep, 60))
        processes = [worker.process for worker in crew._workers]
        began = time.monotonic()
    assert time.monotonic() - began < 10.0
    assert not any(process.is_alive() for process in processes)


def test_processes_that_cannot_start_are_an_error_not_work_given_up(monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(RuntimeError, match="could not be started"):
        list(on_processes([(0, os.getpid)], 1))


def test_in_this_process_the_same_comes_out():
    found = dict(on_processes(enumerate([os.getpid, fail]), 0))
    assert found[0] == Done(os.getpid())
    assert isinstance(found[1], Raised)
