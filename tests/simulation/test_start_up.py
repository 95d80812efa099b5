"""What a simulation does without before it begins: the start of a warm run is as short as its imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from inferencesim import jit
from inferencesim.simulation.compiling import is_cached

#: SciPy is for the statistics, which come after; the rest, Numba needs to compile, and for nothing else.
NOT_NEEDED = {"scipy.linalg", "scipy.special", "numba.np.linalg", "numba.np.arraymath"}

START = f"""
import sys
from inferencesim import simulate

def begins(now_s, _):
    sys.exit(repr(sorted({NOT_NEEDED!r} & set(sys.modules))))

simulate("mixed_fleet", progress=begins)
"""


@pytest.mark.skipif(not jit.JIT_ENABLED or not is_cached(), reason="nothing is compiled that could be loaded")
def test_what_is_compiled_already_is_loaded_without_the_compiler():
    # The first may have a policy to compile.
    ended = [subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=False) for _ in "12"]
    assert ended[-1].stderr.strip() == "[]"
