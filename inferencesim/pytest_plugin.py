"""A fixture for pytest that plays a recorded cost curve again; nothing is imported before a test asks for it.

Installed with the package (entry point ``pytest11``)::

    def test_our_policy_is_as_good_as_ever(cost_curve):
        cost_curve.check("curves/tag_aware.yaml")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from inferencesim.results.curve_check import CurveCheck


class CostCurves:
    """Checks curves whose files are named from the root of the tests on.

    Parameters
    ----------
    root : Path
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def check(self, path: str | Path, *, fresh_seeds: bool = False, jobs: int = 1) -> CurveCheck:
        """Play a curve again and fail the test where it has changed; see :meth:`inferencesim.Curve.check`."""
        from inferencesim.errors import InputError
        from inferencesim.experiments.curves import Curve
        from inferencesim.report.curves import check_text

        try:
            found = Curve.load(self.root / path).check(fresh_seeds=fresh_seeds, jobs=jobs)
        except InputError as problem:
            pytest.fail(str(problem), pytrace=False)
        if not found.passed:
            pytest.fail(check_text(found), pytrace=False)
        return found


@pytest.fixture
def cost_curve(pytestconfig: pytest.Config) -> CostCurves:
    """Check recorded cost curves: ``cost_curve.check("curves/NAME.yaml")``."""
    return CostCurves(pytestconfig.rootpath)
