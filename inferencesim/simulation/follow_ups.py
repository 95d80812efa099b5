"""What follows the end of a request, laid out for the kernel: retries, escalation, people, and how good answers are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.kernel.graph_tables import CURVE, FOLLOW_UP
from inferencesim.kernel.tables import ELIGIBLE
from inferencesim.models.quality import default_curve, in_precision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inferencesim.kernel.tables import Records
    from inferencesim.models.spec import ModelSpec
    from inferencesim.scenario.answers import Curve
    from inferencesim.scenario.fleet import PrecisionName
    from inferencesim.scenario.workload import WorkloadClass
    from inferencesim.simulation.plan import Plan
    from inferencesim.simulation.providers import ProviderPlan


def ladder(plan: Plan, index: int) -> list[str]:
    """Return those of a class's models that some pool or provider it may use serves, in the order of its list."""
    served = {plan.deployments[row].model.id for row in plan.rows[index].tolist() if row >= 0}
    served |= {provider.model.id for _, provider in _providers(plan, index)}
    return [name for name in plan.scenario.workload[index].accepted_models if name in served]


def follow_ups(plan: Plan) -> Records:
    """Return the FOLLOW_UP of every class."""
    table = np.zeros(len(plan.scenario.workload), FOLLOW_UP)
    table["person_s"] = math.nan
    for index, (row, each) in enumerate(zip(table, plan.scenario.workload, strict=True)):
        row["levels"] = len(ladder(plan, index))
        if each.answers is not None:
            row["noticed"] = each.answers.noticed
            row["check_s"] = each.answers.check
            row["retries"] = each.answers.retries
            row["escalates"] = each.answers.escalate
            if each.answers.person is not None:
                row["person_s"], row["person_usd"] = each.answers.person.time, each.answers.person.price
        if each.retry is not None:
            row["attempts"] = each.retry.attempts
            row["back_off_s"] = each.retry.back_off
            row["after_rejected"] = "rejected" in each.retry.after
            row["after_timed_out"] = "timed_out" in each.retry.after
            row["after_failed"] = "failed" in each.retry.after
    return table


def curves(plan: Plan) -> Records:
    """Return the CURVE of every class and candidate; level −1 of one that does not serve the class.

    A provider of unknown precision is taken to run in full precision.
    """
    table = np.zeros(plan.verdicts.shape, CURVE)
    table["level"] = -1
    for index, each in enumerate(plan.scenario.workload):
        levels = ladder(plan, index)
        for column, row in enumerate(plan.rows[index].tolist()):
            if row < 0:
                continue
            deployment = plan.deployments[row]
            _enter(table[index, column], each, deployment.model, deployment.precision.weights, levels)
        for column, provider in _providers(plan, index):
            _enter(table[index, column], each, provider.model, provider.spec.precision or "bf16", levels)
    return table


def _providers(plan: Plan, index: int) -> Iterator[tuple[int, ProviderPlan]]:
    """Yield the providers a class may use, each with its column among the candidates."""
    for column, provider in enumerate(plan.providers, len(plan.pools)):
        if plan.verdicts[index, column] == ELIGIBLE:
            yield column, provider


def _enter(entry: Records, each: WorkloadClass, model: ModelSpec, precision: PrecisionName, levels: list[str]) -> None:
    """Fill in the CURVE of a class's answers by one model, in a precision."""
    entry["level"] = levels.index(model.id)
    curve = in_precision(_curve(each, model), precision)
    entry["ability"], entry["slope"], entry["ceiling"] = curve.ability, curve.slope, curve.ceiling


def _curve(each: WorkloadClass, model: ModelSpec) -> Curve:
    """Return a class's curve of a model, in full precision."""
    stated = {} if each.answers is None else each.answers.curves
    return stated[model.id] if model.id in stated else default_curve(model)
