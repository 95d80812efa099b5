"""What a curve was recorded of, as digests: the scenario as its author wrote it, and the physics behind its names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferencesim.results.manifest import make_manifest

if TYPE_CHECKING:
    from inferencesim.results.manifest import PoolProfile, ProviderProfile
    from inferencesim.scenario.scenario import Scenario
    from inferencesim.simulation.plan import Plan

#: Parts of a scenario that change no figure of a curve, whose seeds are its own.
_WITHOUT_EFFECT = ("question", "recording", "seed")

#: Hexadecimal digits of a digest that people compare by eye.
_SHORT = 16


def scenario_digest(scenario: Scenario) -> str:
    """Return the SHA-256 of what a scenario says, wherever its files are.

    Defaults are left out: a version of the package that adds one, or changes one, makes no other scenario; what that
    does to the curve is for the check to find. Files the scenario names count by their content.
    """
    said = scenario.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=set(_WITHOUT_EFFECT))
    return _digest(_with_contents(said))


def physics_digests(plan: Plan) -> dict[str, str]:
    """Return, by pool and provider, the digest of what stood behind its names."""
    manifest = make_manifest(plan)
    pools = {each.pool: _behind(each) for each in manifest.profiles}
    return pools | {each.provider: _behind(each) for each in manifest.providers}


def _behind(profile: PoolProfile | ProviderProfile) -> str:
    # What is known of the error is words about the numbers, and where it was found differs between machines.
    return _digest(profile.model_dump(mode="json", exclude={"expected_error"}))[:_SHORT]


def _digest(tree: Any) -> str:
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _with_contents(tree: Any) -> Any:
    """Return a tree in which the content of each file stands for its path."""
    if isinstance(tree, dict):
        return {key: _with_contents(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_contents(value) for value in tree]
    if isinstance(tree, str) and Path(tree).is_absolute() and Path(tree).is_file():
        with Path(tree).open("rb") as file:
            return f"file {hashlib.file_digest(file, 'sha256').hexdigest()}"
    return tree
