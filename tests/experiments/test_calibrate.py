"""A calibration is judged on measurements it was not fitted to, and says what it used and what not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from oracle.measured import campaign, measurement, moved, priors, simulated, skip_without_jit
from oracle.small import chip

from inferencesim.documents import read_document
from inferencesim.errors import InputError
from inferencesim.experiments import calibrate as calibrating
from inferencesim.experiments.calibrate import FEWEST, FOLDS, calibrate
from inferencesim.experiments.fitting import PARAMETERS, LogRatios
from inferencesim.measurements.measurement import Unsupported
from inferencesim.results.calibration import calibration_text

TWO = ("small-model", "windowed-model")


def conditions(each):
    return each.setup.model, each.load


@pytest.fixture
def folds(monkeypatch):
    """Pairs of (fitted to, tested on), recorded in place of fits; the point that "fits" come to may be set."""
    seen = []

    class Spy:
        best = None
        pairs = seen

    def fit(start, reproductions, source, **_):
        seen.append([[each.measurement for each in reproductions], None])
        return Spy.best or start

    def evaluate(point, reproductions):
        if seen[-1][1] is None:
            seen[-1][1] = [each.measurement for each in reproductions]
        return LogRatios(np.full(len(reproductions), 0.1), np.full(len(reproductions), 0.2))

    monkeypatch.setattr(calibrating, "fit", fit)
    monkeypatch.setattr(calibrating, "evaluate", evaluate)
    return Spy


def run(measurements, **said):
    return calibrate(measurements, chip(), "vllm", source="a test", **said)


def test_no_fit_is_tested_on_what_it_was_fitted_to(folds):
    again = measurement("again", *(1, 8, 24), serves="small-model", version="0.2")
    calibrated = run([*campaign(TWO), again])
    (everything, nothing), *splits = folds.pairs
    assert len(everything) == 11
    assert nothing == []
    assert len(splits) == FOLDS + 2
    for fitted, tested in splits:
        # Neither the same measurement nor another one of the same load and model.
        assert not {conditions(each) for each in fitted} & {conditions(each) for each in tested}
        assert len(fitted) + len(tested) == 11
    by_rows, by_models = splits[:FOLDS], splits[FOLDS:]
    for folded in (by_rows, by_models):
        assert sorted(each.id for _, tested in folded for each in tested) == sorted(each.id for each in everything)
    for fitted, tested in by_models:
        assert len({each.setup.model for each in tested}) == 1
        assert not {each.setup.model for each in fitted} & {each.setup.model for each in tested}
    unseen = calibrated.calibration.unseen_rows
    assert unseen.measurements == calibrated.calibration.unseen_models.measurements == 11
    assert unseen.tpot_median == pytest.approx(np.expm1(0.1), rel=1e-2)
    assert unseen.ttft_median == pytest.approx(np.expm1(0.2), rel=1e-2)


def test_another_name_for_the_same_layers_is_no_unseen_model(folds):
    formats = {"weights": "fp8", "activations": "fp8", "kv": "bf16"}
    rows = [
        dataclasses.replace(
            one,
            setup=dataclasses.replace(
                one.setup, hardware="nvidia-b200-sxm", model=name, precision=formats, parallelism={"tensor": 8}
            ),
        )
        for one, name in zip(campaign(TWO), ["deepseek-v3", "deepseek-r1"] * 5, strict=True)
    ]
    calibrated = calibrate(rows, "nvidia-b200-sxm", "vllm", source="a test")
    assert calibrated.calibration.fit.models == ("deepseek-r1", "deepseek-v3")
    assert calibrated.calibration.unseen_models is None
    assert len(folds.pairs) == 1 + FOLDS


def test_a_fit_draws_a_sample_and_its_test_does_not(folds, monkeypatch):
    monkeypatch.setattr(calibrating, "FIT_SAMPLE", 6)
    monkeypatch.setattr(calibrating, "FOLD_SAMPLE", 3)
    assert run(campaign(TWO)).calibration.unseen_rows.measurements == 10
    assert [len(fitted) for fitted, _ in folds.pairs] == [6, *[3] * (FOLDS + 2)]


def test_only_what_moved_is_called_fitted(folds):
    folds.best = moved(memory=0.75, step=1000.0)
    limit = next(each for each in PARAMETERS if each.name == "step").high
    numbers = folds.best.numbers.clip(max=[each.high for each in PARAMETERS])
    folds.best = priors().moved(numbers, "fitted to made-up measurements")
    calibrated = run(campaign(TWO))
    fitted = {each.name for each in calibrated.parameters if each.fitted}
    assert fitted == {"efficiency.memory", "host.step"}
    assert {each.name: each.at_bound for each in calibrated.parameters if each.at_bound} == {"host.step": "high"}
    step = next(each for each in calibrated.parameters if each.name == "host.step")
    assert (step.unit, step.value) == ("ms", pytest.approx(limit * 1e3))
    calibration = calibrated.calibration
    assert calibration.efficiency.memory.provenance == "fitted"
    assert calibration.efficiency.memory.si == pytest.approx(0.75 * priors().hardware.efficiency.memory.si)
    assert calibration.efficiency.link == priors().hardware.efficiency.link
    assert calibration.host.request.provenance == "assumption"


def test_the_file_reads_back_as_it_was(folds, tmp_path):
    folds.best = moved(memory=0.75)
    calibration = run(campaign(TWO)).calibration
    text = calibration_text(calibration)
    path = tmp_path / "fitted.yaml"
    path.write_text(text)
    assert read_document(path, type(calibration), "here") == calibration
    assert text.startswith("# Efficiencies and overheads of small-chip with vllm")
    assert "# " + " " * 4 + "calibration: FILE.yaml" in text


def test_what_is_not_of_the_pair_is_left_aside_and_what_cannot_be_used_is_told(folds):
    other = dataclasses.replace(measurement("x").setup, engine="sglang")
    aside = [dataclasses.replace(measurement("x"), setup=other)]
    too_long = measurement("long", prompt=200_000)
    useless = measurement("useless", requests_per_s=3.0)
    unread = [
        Unsupported("u", "lab", "small-chip", "small-model", "vllm", "cancelled before its end"),
        Unsupported("v", "lab", "small-chip", "small-model", "sglang", "cancelled before its end"),
    ]
    calibrated = run([*campaign(TWO), *aside, too_long, useless], refused=unread)
    assert calibrated.others == 1
    assert calibrated.calibration.fit.measurements == 10
    assert [each.id for each in calibrated.unsupported] == ["long", "useless", "u"]
    assert "context" in calibrated.unsupported[0].reason


def test_too_few_measurements_fit_nothing(folds):
    few = campaign()
    with pytest.raises(InputError, match=f"5 of small-chip with vllm can be used. A calibration needs {FEWEST}"):
        run(few)
    with pytest.raises(InputError, match=r"There are some of .*small-chip.yaml."):
        calibrate(few, "nvidia-l4", "vllm", source="a test")
    shipped = [dataclasses.replace(each, setup=dataclasses.replace(each.setup, hardware="nvidia-l4")) for each in few]
    with pytest.raises(InputError, match="Of this chip there are some with vllm"):
        calibrate(shipped, "nvidia-l4", "sglang", source="a test")
    with pytest.raises(InputError, match="8 have neither TPOT nor"):
        run([measurement(f"{n}", clients=n, ttft_s=0.1) for n in range(1, 9)])
    with pytest.raises(InputError, match="the first because: no request can be served"):
        run([measurement(f"{n}", clients=n, prompt=200_000) for n in range(1, 9)])
    with pytest.raises(InputError, match="fewer than 4 different conditions"):
        run([measurement(f"{n}") for n in range(FEWEST)])
    assert folds.pairs == []


def test_chip_and_engine_must_exist():
    with pytest.raises(InputError, match=r"--hardware: .*Did you mean 'nvidia-l4'"):
        calibrate([], "nvidia-l", "vllm", source="a test")
    with pytest.raises(InputError, match=r"--engine: .*Did you mean 'vllm'"):
        calibrate([], "nvidia-l4", "vlm", source="a test")


def test_a_calibration_does_better_than_the_priors_where_it_was_not_fitted(monkeypatch):
    skip_without_jit()
    monkeypatch.setattr(calibrating, "EVALUATIONS", 1)
    monkeypatch.setattr(calibrating, "FOLD_EVALUATIONS", 4)
    monkeypatch.setattr(calibrating, "FOLDS", 2)
    seen = []
    measurements = simulated(moved(memory=0.7, step=1.5), campaign(TWO))
    calibrated = run(measurements, progress=lambda done, fits: seen.append((done, fits)))
    assert calibrated.before.tpot_median > 0.15
    assert calibrated.calibration.unseen_rows.tpot_median < 0.05
    assert calibrated.calibration.unseen_models.tpot_median < 0.05
    assert seen == [(done, 5) for done in range(6)]
