"""The manifest of a run: what was simulated, by which versions, and whether it came to its end."""

from __future__ import annotations

import functools
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from inferencesim.results.records.base import Record

if TYPE_CHECKING:
    from inferencesim.simulation.plan import Plan, PoolPlan
    from inferencesim.simulation.providers import ProviderPlan

#: Version of the run folder's layout.
MANIFEST_SCHEMA = 1

#: Packages whose version can change a result.
_PACKAGES = ("inferencesim", "numpy", "numba", "simpy", "pyarrow")


class PoolProfile(Record):
    """What stood behind the names of one pool.

    Attributes
    ----------
    pool, hardware, model, precision : str
    hardware_digest, model_digest : str
        SHA-256 of the profiles' canonical JSON, the parameters of a calibration in place.
    calibration_digest : str or None
        The same of the calibration; None where there is none.
    expected_error : str
        What is known about the error of its TPOT.
    """

    pool: str
    hardware: str
    hardware_digest: str
    model: str
    model_digest: str
    precision: str
    calibration_digest: str | None
    expected_error: str


class ProviderProfile(Record):
    """What stood behind the names of one provider.

    Attributes
    ----------
    provider, model : str
    model_digest : str
        SHA-256 of the model's canonical JSON.
    precision : str or None
        None: unknown.
    offer, price_source : str or None
        The shipped list price, where and when it was read; None where the scenario states a price.
    usd_per_prompt_token, usd_per_cached_token, usd_per_output_token : float
    """

    provider: str
    model: str
    model_digest: str
    precision: str | None
    offer: str | None
    price_source: str | None
    usd_per_prompt_token: float
    usd_per_cached_token: float
    usd_per_output_token: float


class TableParts(Record):
    """How much of a table was written."""

    table: str
    parts: int
    rows: int


class Link(Record):
    """The head of the chain once one part of a table, or the summary, was taken in."""

    table: str
    part: int
    head: str


class Chain(Record):
    """The hash chain over what was written, see :mod:`inferencesim.results.chain`.

    Attributes
    ----------
    start : str
        The head before anything was simulated: of scenario, seed, versions and profiles.
    head : str
        The last one: what to keep, or to publish.
    links : tuple of Link
        In the order in which they were written.
    """

    start: str
    head: str
    links: tuple[Link, ...]


class Manifest(Record):
    """The first file written, and the last but one written again.

    It names neither the machine nor the time of day: the same scenario, seed
    and versions give the same bytes.

    Attributes
    ----------
    status : {"incomplete", "complete"}
        Incomplete until everything else has been written.
    scenario : dict
        The validated scenario, overrides applied.
    scenario_digest : str
    seed : int
    versions : dict of str to str
        Of Python and of the packages that take part, those whose policies do included.
    profiles : tuple of PoolProfile
    providers : tuple of ProviderProfile
    placement, balancing : str
    oracle : bool
    tables : tuple of TableParts
        Empty while incomplete.
    chain : Chain or None
        None while incomplete, and of runs in memory.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    status: Literal["incomplete", "complete"]
    name: str
    scenario: dict[str, Any]
    scenario_digest: str
    seed: int
    versions: dict[str, str]
    profiles: tuple[PoolProfile, ...]
    providers: tuple[ProviderProfile, ...]
    placement: str
    balancing: str
    oracle: bool
    tables: tuple[TableParts, ...] = ()
    chain: Chain | None = None


def make_manifest(plan: Plan) -> Manifest:
    """Return the manifest of a plan that has not been played yet."""
    import json

    from inferencesim.documents import canonical_json, document_digest
    from inferencesim.results.policies import foreign_packages, policies_of

    scenario = plan.scenario
    placement, balancing = scenario.routing.placement.policy, scenario.routing.balancing.policy
    return Manifest(
        status="incomplete",
        name=scenario.name,
        scenario=json.loads(canonical_json(scenario)),
        scenario_digest=document_digest(scenario),
        seed=scenario.seed,
        versions=package_versions() | foreign_packages(plan),
        profiles=tuple(_profile(pool) for pool in plan.pools),
        providers=tuple(_provider(each) for each in plan.providers),
        placement=placement,
        balancing=balancing,
        oracle=policies_of(plan).oracle,
    )


def _profile(pool: PoolPlan) -> PoolProfile:
    from inferencesim.documents import document_digest
    from inferencesim.hardware.catalog import profile_digest
    from inferencesim.models.catalog import model_digest

    deployment = pool.deployment
    calibration = deployment.calibration
    return PoolProfile(
        pool=pool.name,
        hardware=deployment.hardware.id,
        hardware_digest=profile_digest(deployment.hardware),
        model=deployment.model.id,
        model_digest=model_digest(deployment.model),
        precision=deployment.precision.in_words,
        calibration_digest=None if calibration is None else document_digest(calibration),
        expected_error=deployment.expected_error,
    )


def _provider(provider: ProviderPlan) -> ProviderProfile:
    from inferencesim.models.catalog import model_digest

    offer = provider.offer
    return ProviderProfile(
        provider=provider.name,
        model=provider.model.id,
        model_digest=model_digest(provider.model),
        precision=provider.spec.precision,
        offer=None if offer is None else offer.id,
        price_source=None if offer is None else f"{offer.source}, read {offer.date}",
        usd_per_prompt_token=provider.usd_per_prompt_token,
        usd_per_cached_token=provider.usd_per_cached_token,
        usd_per_output_token=provider.usd_per_output_token,
    )


@functools.cache
def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a result."""
    # Read once: each is a file of its own, and together they take as long as a short run.
    python = ".".join(str(part) for part in sys.version_info[:3])
    return {"python": python} | {name: metadata.version(name) for name in _PACKAGES}
