"""Tables of hardware profiles and models: every number with its unit, provenance and source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel
from rich.text import Text

from inferencesim.deployment.calibration import UNVALIDATED
from inferencesim.hardware.quantity import Quantity
from inferencesim.report.formats import count, share, significant
from inferencesim.report.tables import new_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from inferencesim.deployment.calibration import Calibration, Errors
    from inferencesim.hardware.profile import HardwareProfile
    from inferencesim.models.spec import ModelSpec


def quantities(document: BaseModel, prefix: str = "") -> Iterator[tuple[str, Quantity]]:
    """Yield every quantity of a document with its path (``memory.bandwidth``)."""
    for name in type(document).model_fields:
        yield from _quantities_of(getattr(document, name), f"{prefix}{name}")


def _quantities_of(value: object, path: str) -> Iterator[tuple[str, Quantity]]:
    if isinstance(value, Quantity):
        yield path, value
    elif isinstance(value, BaseModel):
        yield from quantities(value, f"{path}.")
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _quantities_of(entry, f"{path}.{key}")


def hardware_table(profile: HardwareProfile) -> Table:
    """Return every number of a profile, with where it is from."""
    title = f"{profile.name} ({profile.id}): {profile.vendor}, {profile.kind}, {profile.status}, {profile.cooling}"
    table = new_table(title, "number", "value", "unit", "provenance", "source")
    for column in table.columns[2:]:
        column.justify = "left"
    for path, quantity in quantities(profile):
        note = f" ({quantity.note})" if quantity.note else ""
        table.add_row(path, f"{quantity.value:,g}", quantity.unit, quantity.provenance, quantity.source + note)
    if profile.notes:
        table.caption, table.caption_justify = profile.notes.strip(), "left"
    return table


def calibrations_table(calibrations: Sequence[Calibration]) -> RenderableType:
    """Return a line per calibration of a chip and kind of unseen measurement, or that there is none."""
    if not calibrations:
        return Text(f"Calibrations: none. Step times are {UNVALIDATED}.")
    table = new_table(
        "Calibrations: errors on measurements which the fit had not seen", "engine", "fitted on", "left out", "n",
        "TPOT or rate: median", "mean", "p90", "TTFT: median", left=3,
    )  # fmt: skip
    for each in calibrations:
        for what, errors in (("random rows", each.unseen_rows), ("one model", each.unseen_models)):
            if errors is not None:
                table.add_row(each.engine, str(each.fit.day), what, count(errors.measurements), *error_cells(errors))
    return table


def error_cells(errors: Errors) -> list[str]:
    """Return median, mean and 90th percentile of TPOT errors, and the median of TTFT errors."""
    # Zero stands for no TTFT at all: no simulation meets every one to the last digit.
    figures = (errors.tpot_median, errors.tpot_mean, errors.tpot_p90, errors.ttft_median or None)
    return [share(error) for error in figures]


def hardware_list_table(profiles: Sequence[HardwareProfile]) -> Table:
    """Return one line per profile."""
    table = new_table(
        "", "id", "kind", "memory", "GB", "GB/s", "bf16 TFLOPS", "fp8", "peak W", "USD/h", "status", left=3
    )
    table.columns[-1].justify = "left"
    for profile in profiles:
        fp8 = profile.compute.get("fp8")
        table.add_row(
            profile.id, profile.kind, profile.memory.type, significant(profile.memory.capacity.si / 1e9),
            significant(profile.memory.bandwidth.si / 1e9), significant(profile.compute["bf16"].si / 1e12),
            significant(None if fp8 is None else fp8.si / 1e12), significant(profile.power.peak.si),
            f"{profile.price.per_chip.si * 3600.0:.2f}", profile.status,
        )  # fmt: skip
    return table


def model_table(model: ModelSpec) -> Table:
    """Return a model's architecture, with where each number is from, and what follows from it."""
    table = new_table(f"{model.name} ({model.id}): {model.kind}", "field", "value", "source")
    table.columns[2].justify = "left"
    skipped = {"schema_version", "id", "name", "kind", "source", "sources", "notes"}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if name in skipped or value is None:
            continue
        source = model.sources.get(name, "config")
        if isinstance(value, BaseModel):
            for inner in type(value).model_fields:
                table.add_row(f"{name}.{inner}", f"{getattr(value, inner)}", source)
        else:
            table.add_row(name, f"{value:,}" if type(value) is int else str(value), source)
    table.add_section()
    for label, amount in (
        ("total_parameters", model.total_parameters),
        ("active_parameters", model.active_parameters),
        ("kv_elements_per_token", model.kv_elements_per_token),
        ("state_elements", model.state_elements),
    ):
        table.add_row(label, f"{amount:,}", "computed from the above")
    table.caption = f"config: {model.source}" + (f"\n{model.notes.strip()}" if model.notes else "")
    table.caption_justify = "left"
    return table


def model_list_table(models: Sequence[ModelSpec]) -> Table:
    """Return one line per model."""
    table = new_table(
        "", "id", "kind", "parameters", "active", "layers", "KV elements/token", "context", "published in", left=2
    )
    for model in models:
        table.add_row(
            model.id, model.kind, f"{model.total_parameters / 1e9:,.1f} B", f"{model.active_parameters / 1e9:,.1f} B",
            f"{model.layers}", f"{model.kv_elements_per_token:,}", f"{model.max_context:,}", model.native_precision,
        )  # fmt: skip
    return table
