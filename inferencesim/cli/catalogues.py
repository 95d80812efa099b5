"""Commands that list what there is: hardware, models, classes, tasks, providers, policies, scenarios; the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from inferencesim.cli.console import Format, FormatOption, emit, guarded, say, show
from inferencesim.errors import InputError

if TYPE_CHECKING:
    from inferencesim.policy import Policy
    from inferencesim.registry import Registry

hardware = typer.Typer(no_args_is_help=True, help="Hardware profiles.", rich_markup_mode=None)
models = typer.Typer(no_args_is_help=True, help="Models.", rich_markup_mode=None)
classes = typer.Typer(no_args_is_help=True, help="Workload classes of the library.", rich_markup_mode=None)
tasks = typer.Typer(no_args_is_help=True, help="Whole tasks of the library.", rich_markup_mode=None)
policies = typer.Typer(no_args_is_help=True, help="Policies of routing and batching.", rich_markup_mode=None)
providers = typer.Typer(no_args_is_help=True, help="List prices of outside providers.", rich_markup_mode=None)
scenarios = typer.Typer(no_args_is_help=True, help="Shipped scenarios.", rich_markup_mode=None)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="An id, or a file of your own.")]


@hardware.command("list")
@guarded
def list_hardware(output: FormatOption = Format.TABLE) -> None:
    """List the shipped hardware profiles."""
    from inferencesim.hardware.catalog import load_profile, profile_names

    profiles = [load_profile(name, name) for name in profile_names()]
    if output is Format.JSON:
        emit([profile.model_dump(mode="json", by_alias=True) for profile in profiles])
        return
    from inferencesim.report.profiles import hardware_list_table

    show([hardware_list_table(profiles)])


@hardware.command("show")
@guarded
def show_hardware(name: NameArgument, output: FormatOption = Format.TABLE) -> None:
    """Show every number of a profile with unit, provenance and source, and the calibrations it comes with."""
    from inferencesim.deployment.calibration import calibrations_of
    from inferencesim.hardware.catalog import load_profile

    profile = load_profile(name, "hardware")
    calibrations = calibrations_of(profile.id)
    if output is Format.JSON:
        fitted = {"calibrations": [each.model_dump(mode="json", by_alias=True) for each in calibrations]}
        emit(profile.model_dump(mode="json", by_alias=True) | fitted)
        return
    from inferencesim.report.profiles import calibrations_table, hardware_table

    show([hardware_table(profile), calibrations_table(calibrations)])


@models.command("list")
@guarded
def list_models(output: FormatOption = Format.TABLE) -> None:
    """List the shipped models."""
    from inferencesim.models.catalog import load_model, model_names

    found = [load_model(name, name) for name in model_names()]
    if output is Format.JSON:
        emit([model.model_dump(mode="json", by_alias=True) for model in found])
        return
    from inferencesim.report.profiles import model_list_table

    show([model_list_table(found)])


@models.command("show")
@guarded
def show_model(name: NameArgument, output: FormatOption = Format.TABLE) -> None:
    """Show a model's architecture with sources, and what follows from it; also of a config.json."""
    from inferencesim.models.catalog import load_model

    model = load_model(name, "model")
    if output is Format.JSON:
        emit(model.model_dump(mode="json", by_alias=True))
        return
    from inferencesim.report.profiles import model_table

    show([model_table(model)])


@classes.command("list")
@guarded
def list_classes(output: FormatOption = Format.TABLE) -> None:
    """List the library's workload classes, which a scenario takes over with `like: NAME`."""
    from inferencesim.scenario.library import class_names, load_class
    from inferencesim.scenario.loading import library_class

    found = [load_class(name, name) for name in class_names()]
    if output is Format.JSON:
        emit([each.model_dump(mode="json", by_alias=True) for each in found])
        return
    from inferencesim.report.library import class_list_table

    show([class_list_table([(each, library_class(each.id)) for each in found])])


@classes.command("show")
@guarded
def show_class(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An id of the library.")],
    output: FormatOption = Format.TABLE,
) -> None:
    """Show every number of a workload class with provenance and source."""
    from inferencesim.scenario.library import load_class

    found = load_class(name, "class")
    if output is Format.JSON:
        emit(found.model_dump(mode="json", by_alias=True))
        return
    from inferencesim.report.library import entry_table

    show([entry_table(found)])


@tasks.command("list")
@guarded
def list_tasks(output: FormatOption = Format.TABLE) -> None:
    """List the library's whole tasks, which a scenario takes over with `like: NAME`."""
    from inferencesim.scenario.loading import library_task
    from inferencesim.scenario.task_library import load_task, task_names

    found = [load_task(name, name) for name in task_names()]
    if output is Format.JSON:
        emit([each.model_dump(mode="json", by_alias=True) for each in found])
        return
    from inferencesim.report.library import task_list_table

    show([task_list_table([(each, library_task(each.id)) for each in found])])


@tasks.command("show")
@guarded
def show_task(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An id of the library.")],
    output: FormatOption = Format.TABLE,
) -> None:
    """Show every number of a whole task with provenance and source, and what a scenario writes to have it."""
    from inferencesim.scenario.task_library import load_task
    from inferencesim.scenario.task_needs import lines_for

    found = load_task(name, "task")
    if output is Format.JSON:
        emit(found.model_dump(mode="json", by_alias=True))
        return
    from inferencesim.report.library import entry_table

    show([entry_table(found), "In a scenario:", "", lines_for(found)])


@providers.command("list")
@guarded
def list_providers(output: FormatOption = Format.TABLE) -> None:
    """List the shipped offers: dated prices of models behind APIs."""
    from inferencesim.economics.offers import load_offer, offer_names

    offers = [load_offer(name, name) for name in offer_names()]
    if output is Format.JSON:
        emit([offer.model_dump(mode="json") for offer in offers])
        return
    from inferencesim.report.offers import offer_list_table

    show([offer_list_table(offers)])


@providers.command("show")
@guarded
def show_provider(
    offer: Annotated[str, typer.Argument(metavar="OFFER", help="An id, as in openai/gpt-4.1-mini.")],
    output: FormatOption = Format.TABLE,
) -> None:
    """Show an offer's prices with source and date, and what is assumed of its tiers."""
    from inferencesim.economics.offers import load_offer, tier_facts

    found = load_offer(offer, "offer")
    tiers = [tier_facts(tier) for tier in found.prices]
    if output is Format.JSON:
        emit(found.model_dump(mode="json") | {"tiers": [each.model_dump(mode="json") for each in tiers]})
        return
    from inferencesim.report.offers import offer_table, tier_table

    show([offer_table(found), tier_table(tiers)])


@policies.command("list")
@guarded
def list_policies(output: FormatOption = Format.TABLE) -> None:
    """List the policies of routing and batching, those of other packages included, with their parameters."""
    import inferencesim.batching.formers
    import inferencesim.batching.orders
    import inferencesim.routing.policies  # noqa: F401 - files the built-in ones
    from inferencesim.batching.policy import FORMERS, ORDERS
    from inferencesim.routing.policy import POLICIES

    kinds = (
        ("routing", "Routing policies, for placement and for balancing", _policies_in(POLICIES)),
        ("batching", "Batching policies, of a pool", _policies_in(FORMERS)),
        ("order", "Orders of a pool's waiting queues", _policies_in(ORDERS)),
    )
    if output is Format.JSON:
        emit(
            [
                {
                    "kind": kind, "id": name, "rule": each.rule, "parameters": dict(each.parameters),
                    "oracle": each.oracle,
                }
                for kind, _, found in kinds
                for name, each in found
            ]
        )  # fmt: skip
        return
    from inferencesim.report.tables import new_table

    tables = []
    for _, title, found in kinds:
        table = new_table(title, "id", "rule", "parameters", left=3)
        for name, each in found:
            parameters = ", ".join(f"{key} {value:g}" for key, value in each.parameters.items())
            table.add_row(name, each.rule + (" (oracle)" if each.oracle else ""), parameters)
        tables.append(table)
    show(tables)


def _policies_in(registry: Registry[Any]) -> list[tuple[str, Policy]]:
    """Return what a registry holds; what cannot be loaded is told and left out."""
    found = []
    for name in registry.names():
        try:
            found.append((name, registry.get(name, name)))
        except InputError as problem:
            # Another package's fault is no reason to hide the rest.
            say(f"error: {problem}")
    return found


@scenarios.command("list")
@guarded
def list_scenarios(output: FormatOption = Format.TABLE) -> None:
    """List the shipped scenarios and the question each answers."""
    from inferencesim.scenario.loading import load_scenario, scenario_names

    found = [(name, load_scenario(name)) for name in scenario_names()]
    if output is Format.JSON:
        emit([{"name": name, "question": each.question} for name, each in found])
        return
    from inferencesim.report.tables import new_table

    table = new_table("", "name", "question", left=2)
    for name, each in found:
        table.add_row(name, each.question)
    show([table])


@guarded
def schema() -> None:
    """Print the JSON Schema of scenarios, for editors."""
    from inferencesim.scenario.scenario import Scenario

    document = Scenario.model_json_schema(by_alias=True)
    emit({"$schema": "https://json-schema.org/draft/2020-12/schema", **document})
