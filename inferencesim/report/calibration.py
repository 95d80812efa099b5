"""Tables of a fresh calibration: what moved, how well it does, what was left out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from inferencesim.report.formats import count
from inferencesim.report.profiles import error_cells
from inferencesim.report.tables import new_table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from inferencesim.results.calibration import Calibrated, FittedParameter


def calibration_tables(calibrated: Calibrated) -> list[RenderableType]:
    """Return what ``calibrate`` prints."""
    parts: list[RenderableType] = [_head(calibrated), _parameter_table(calibrated), _error_table(calibrated)]
    if calibrated.unsupported:
        parts.append(_unsupported_table(calibrated))
    return parts


def _head(calibrated: Calibrated) -> Text:
    calibration = calibrated.calibration
    models = ", ".join(calibration.fit.models)
    return Text.assemble(
        (f"{calibration.hardware} with {calibration.engine}", "bold"),
        f": {count(calibration.fit.measurements)} measurements of {models}; {count(len(calibrated.unsupported))} more "
        f"could not be used, {count(calibrated.others)} are of other chips or engines.",
    )


def _parameter_table(calibrated: Calibrated) -> Table:
    table = new_table("Parameters", "parameter", "prior", "fitted", "unit", "bounds", "")
    table.columns[3].justify = table.columns[5].justify = "left"
    for each in calibrated.parameters:
        fitted = f"{each.value:.4g}" if each.fitted else ""
        bounds = f"{each.low:g} … {each.high:g}"
        table.add_row(each.name, f"{each.prior:.4g}", fitted, each.unit, bounds, _remark(each))
    return table


def _remark(parameter: FittedParameter) -> Text:
    if parameter.at_bound is not None:
        return Text(f"at its {'lower' if parameter.at_bound == 'low' else 'upper'} bound", style="yellow")
    return Text("" if parameter.fitted else "stays at its prior")


def _error_table(calibrated: Calibrated) -> Table:
    calibration = calibrated.calibration
    table = new_table("Errors", "", "n", "TPOT or rate: median", "mean", "p90", "TTFT: median")
    for name, errors in (
        ("before, with the priors", calibrated.before),
        ("unseen rows", calibration.unseen_rows),
        ("unseen models", calibration.unseen_models),
    ):
        if errors is not None:
            table.add_row(name, count(errors.measurements), *error_cells(errors))
    if calibration.unseen_models is None:
        table.caption, table.caption_justify = "Unseen models: not known, there is only one.", "left"
    return table


def _unsupported_table(calibrated: Calibrated) -> Table:
    table = new_table("Not usable", "reason", "measurements")
    table.columns[0].no_wrap = False
    for reason, number in Counter(each.reason for each in calibrated.unsupported).most_common():
        table.add_row(reason, count(number))
    return table
