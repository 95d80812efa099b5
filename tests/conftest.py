"""Settings all tests share; its place puts ``tests/`` on the path, where the oracle lives."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("default", deadline=None)
settings.load_profile("default")
