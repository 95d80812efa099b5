"""The package guards its own policies: their recorded cost curves, played again.

After a change that is wanted, ``make curves`` records them anew, and the diff shows what it does to whom.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from inferencesim import Curve, jit
from inferencesim.report.curves import check_text

FILES = sorted((Path(__file__).parents[1] / "curves").glob("*.yaml"))


@pytest.mark.skipif(not jit.JIT_ENABLED, reason="without the JIT this takes minutes, and the numbers are the same")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_policies_cost_and_keep_what_they_did(file):
    found = Curve.load(file).check()
    assert found.passed, check_text(found)


def test_four_policies_are_guarded():
    assert {Curve.load(file).recorded.placement for file in FILES} >= {
        "cheapest_feasible",
        "least_normalised_load",
        "premium_first",
        "tag_aware",
    }
