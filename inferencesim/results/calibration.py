"""What a calibration came out as: its document, what the fit did to each parameter, what it could not use."""

from __future__ import annotations

from typing import Annotated, Literal

import yaml
from pydantic import Field

from inferencesim.deployment.calibration import (
    Calibration,
    Errors,
)
from inferencesim.measurements.measurement import Unsupported
from inferencesim.results.records.base import Record

#: Width of the file: a parameter with its unit, source and provenance stands on one line.
_WIDTH = 200


class FittedParameter(Record):
    """One parameter before and after the fit.

    Attributes
    ----------
    name : str
        As in the file: ``efficiency.memory``, ``host.step``.
    unit : str
    prior, value, low, high : float
        Where the fit began, where it ended, and the bounds; in `unit`.
    fitted : bool
        Whether it moved; what the measurements say nothing about stays at its prior.
    at_bound : {"low", "high"} or None
        A bound it has reached: the measurements ask for more than is physical, or for another parameter.
    """

    name: str
    unit: str
    prior: float
    value: float
    low: float
    high: float
    fitted: bool
    at_bound: Literal["low", "high"] | None


class Calibrated(Record):
    """A calibration, and what it could not use.

    Attributes
    ----------
    schema_version : int
        ``schema`` in JSON.
    calibration : Calibration
    before : Errors
        Of the priors, on the same measurements.
    parameters : tuple of FittedParameter
    unsupported : tuple of Unsupported
        Measurements of this chip and engine that could not be used, and why.
    others : int
        Measurements of other chips or engines, left aside.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    calibration: Calibration
    before: Errors
    parameters: tuple[FittedParameter, ...]
    unsupported: tuple[Unsupported, ...]
    others: int


def calibration_text(calibration: Calibration) -> str:
    """Return a calibration as the YAML file a pool can name, with a head that says what it is and how to use it."""
    fit = calibration.fit
    lines = [
        f"Efficiencies and overheads of {calibration.hardware} with {calibration.engine}, in place of those of profile "
        "and engine:",
        f"fitted by `inferencesim calibrate` on {fit.day} to {fit.measurements} measurements of {len(fit.models)} "
        f"{'model' if len(fit.models) == 1 else 'models'}.",
        "",
        f"To use it, name this file in a pool of {calibration.hardware} with {calibration.engine}:",
        "",
        "    calibration: FILE.yaml",
        "",
        "Errors, |predicted - measured| / measured, on measurements which the fit had not seen:",
        f"    random rows left out:   {_errors(calibration.unseen_rows)}",
    ]
    if calibration.unseen_models is not None:
        lines.append(f"    one model left out:     {_errors(calibration.unseen_models)}")
    else:
        lines.append("    one model left out:     not known; there is only one")
    lines.append("A parameter whose provenance is not `fitted` stayed at its prior.")
    head = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    tree = calibration.model_dump(mode="json", by_alias=True, exclude_none=True)
    tree["fit"]["day"] = fit.day
    return head + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=None, width=_WIDTH)


def _errors(errors: Errors) -> str:
    tpot = f"median {errors.tpot_median:.1%}, mean {errors.tpot_mean:.1%}, p90 {errors.tpot_p90:.1%}"
    ttft = f"; TTFT median {errors.ttft_median:.1%}" if errors.ttft_median else ""
    return f"TPOT, or else a rate, {tpot}{ttft} (n = {errors.measurements})"
