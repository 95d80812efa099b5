"""What was read of a file with one measurement."""

from __future__ import annotations


def only(readings):
    """Return the one measurement."""
    (measurement,) = readings.measurements
    assert not readings.unsupported
    return measurement


def refused(readings):
    """Return why the one row cannot be used."""
    (unsupported,) = readings.unsupported
    assert not readings.measurements
    return unsupported.reason
