"""Measurements of the small chip, made by simulating it: what a fit should find is known."""

from __future__ import annotations

import dataclasses

import pytest

from inferencesim.deployment.engine import load_engine
from inferencesim.experiments.fitting import PARAMETERS, Point
from inferencesim.experiments.reproduce import Reproduction
from inferencesim.hardware.catalog import load_profile
from inferencesim.jit import JIT_ENABLED
from inferencesim.measurements.measurement import MeasuredLoad, MeasuredSetup, Measurement, TokenRange
from oracle.small import chip, model

NAMES = [parameter.name for parameter in PARAMETERS]
#: Weights, prompts and the host each decide one of these: (clients, prompt tokens, output tokens).
LOADS = ((1, 8, 24), (2, 16, 24), (8, 24, 24), (1, 300, 40), (4, 200, 40))
FORMATS = {"weights": "bf16", "activations": "bf16", "kv": "bf16"}


def skip_without_jit():
    """Skip a test that fits in earnest: that is hundreds of simulations, and minutes in plain Python."""
    if not JIT_ENABLED:
        pytest.skip("a fit takes minutes without the JIT")


def measurement(name, clients=1, prompt=16, output=24, serves="small-model", version="", **observed):
    """Return a closed loop on the small chip with vLLM; what it observed may be made up."""
    setup = MeasuredSetup(chip(), model(serves), "vllm", version, FORMATS, {"tensor": 1})
    lengths = TokenRange(prompt, prompt), TokenRange(output, output)
    load = MeasuredLoad("closed", *lengths, clients, requests=3 * clients)
    return Measurement(name, "lab", "", setup, load, observed or {"tpot_s": 0.01, "ttft_s": 0.02})


def priors():
    """Return the small chip with vLLM as profile and class priors have them."""
    return Point(load_profile(chip(), "chip"), load_engine("vllm", "engine"))


def moved(**factors):
    """Return that point with some parameters multiplied."""
    start = priors()
    numbers = start.numbers
    for name, factor in factors.items():
        numbers[NAMES.index(name)] *= factor
    return start.moved(numbers, "chosen for tests")


def simulated(truth, measurements):
    """Return the measurements as they would come out where `truth` holds."""
    return [
        dataclasses.replace(each, observed={name: figures[name] for name in each.observed})
        for each in measurements
        for figures in [Reproduction(each, "none").simulate(truth.hardware, truth.engine)]
    ]


def campaign(serves=("small-model",)):
    """Return one measurement of every load, per model."""
    return [
        measurement(f"{name} {number}", *load, serves=name) for name in serves for number, load in enumerate(LOADS, 1)
    ]
