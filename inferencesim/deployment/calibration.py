"""Calibrations: efficiencies and overheads fitted to measurements of one chip with one engine."""

from __future__ import annotations

import functools
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from inferencesim.documents import read_document
from inferencesim.errors import InputError
from inferencesim.hardware.profile import Efficiency, Overhead
from inferencesim.hardware.quantity import Duration
from inferencesim.package_data import data_folder, shipped_names
from inferencesim.scenario.base import Part

if TYPE_CHECKING:
    from inferencesim.deployment.engine import Engine
    from inferencesim.hardware.profile import HardwareProfile

#: What a pool writes to use the shipped calibration of its chip and engine, where there is one.
SHIPPED = "shipped"

#: What a pool writes to use no calibration: the profile and the class priors as they are.
NO_CALIBRATION = "none"


class Fit(Part):
    """What a calibration was fitted to.

    Attributes
    ----------
    day : date
    measurements : int
        Twins counted once.
    models, engine_versions : tuple of str
        Among them.
    source : str
        Where the measurements are from.
    """

    day: date
    measurements: int = Field(gt=0)
    models: tuple[str, ...]
    engine_versions: tuple[str, ...] = ()
    source: str = Field(min_length=1)


class Errors(Part):
    """Absolute relative errors on measurements that were not in the fit: medians, and the 90th percentile of TPOT."""

    measurements: int = Field(ge=0)
    tpot_median: float = Field(ge=0)
    tpot_mean: float = Field(ge=0)
    tpot_p90: float = Field(ge=0)
    ttft_median: float = Field(ge=0)


class Host(Part):
    """The engine's costs on this chip's host, as in :class:`inferencesim.deployment.engine.Engine`."""

    step: Duration
    sequence: Duration
    launch: Duration
    request: Duration


class Calibration(Part):
    """Parameters of one chip under one engine which replace those of profile and engine.

    Attributes
    ----------
    schema_version : int
        ``schema`` in YAML: the version of this format.
    hardware, engine : str
        Ids of what it calibrates.
    fit : Fit
    unseen_rows : Errors
        Cross-validated over random rows.
    unseen_models : Errors or None
        Cross-validated leaving out one model at a time; None with a single model.
    efficiency, overhead, host
        The parameters.
    """

    schema_version: Literal[1] = Field(alias="schema")
    hardware: str
    engine: str
    fit: Fit
    unseen_rows: Errors
    unseen_models: Errors | None = None
    efficiency: Efficiency
    overhead: Overhead
    host: Host

    @property
    def expected_error(self) -> str:
        """The error of TPOT to expect, as reports print it."""
        return f"±{self.unseen_rows.tpot_median:.0%} (n = {self.unseen_rows.measurements})".replace("%", " %")


#: What reports print of a deployment that nothing was fitted to.
UNVALIDATED = "unvalidated: class prior"

#: What they print of a deployment whose step times are measured.
MEASURED_TABLE = "measured step table"


def find_calibration(choice: str, hardware: HardwareProfile, engine: Engine, where: str) -> Calibration | None:
    """Return the calibration a pool asks for.

    Parameters
    ----------
    choice : str
        ``shipped``, ``none``, or the path of a calibration file.
    hardware, engine
        What the pool names.
    where : str
        Path of the choice in the scenario, for errors.

    Raises
    ------
    InputError
        If the file is wrong, or calibrates another chip or engine.
    """
    if choice == NO_CALIBRATION:
        return None
    if choice == SHIPPED:
        return _shipped(hardware.id, engine.id)
    calibration = read_document(Path(choice), Calibration, where)
    if (calibration.hardware, calibration.engine) != (hardware.id, engine.id):
        raise InputError(
            where,
            f"{choice!r} calibrates {calibration.hardware} with {calibration.engine}, "
            f"not {hardware.id} with {engine.id}",
            f"Write `shipped` or `none`, or calibrate this pair: inferencesim calibrate … --hardware {hardware.id} "
            f"--engine {engine.id}.",
        )
    return calibration


def calibrations_of(hardware_id: str) -> list[Calibration]:
    """Return the shipped calibrations of a chip, by engine."""
    names = (name for name in shipped_names(_folder()) if name.startswith(f"{hardware_id}."))
    found = (_shipped(hardware_id, name.removeprefix(f"{hardware_id}.")) for name in names)
    return [calibration for calibration in found if calibration is not None]


def apply(calibration: Calibration, hardware: HardwareProfile, engine: Engine) -> tuple[HardwareProfile, Engine]:
    """Return profile and engine with the calibrated parameters in place of their own."""
    host = calibration.host
    costs = {"step": host.step, "sequence": host.sequence, "launch": host.launch, "request": host.request}
    kernels = {"efficiency": calibration.efficiency, "overhead": calibration.overhead}
    return hardware.model_copy(update=kernels), engine.model_copy(update=costs)


def _folder() -> Path:
    return data_folder("hardware_profiles") / "calibrations"


@functools.cache
def _shipped(hardware_id: str, engine_id: str) -> Calibration | None:
    path = _folder() / f"{hardware_id}.{engine_id}.yaml"
    return read_document(path, Calibration, str(path)) if path.exists() else None
