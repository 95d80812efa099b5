"""Numbers as a person reads them: three significant digits, a fitting unit, a dash for what does not exist."""

from __future__ import annotations

import math

NOTHING = "–"


def significant(value: float | None, digits: int = 3) -> str:
    """Return a number with `digits` significant digits and no exponent where that stays short."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    if abs(value) < 1e-9:
        return f"{value:.{digits}g}"
    # Rounding may carry into the next decade (0.9996 → 1.00), so the decade is that of the rounded number.
    decade = math.floor(math.log10(abs(float(f"{value:.{digits}g}"))))
    return f"{value:.{max(0, digits - 1 - decade)}f}"


def _scaled(value: float | None, steps: tuple[tuple[float, float, str], ...]) -> str:
    """Write a value in the first unit whose threshold it reaches; steps are (threshold, size, unit)."""
    if value is None:
        return NOTHING
    if value == 0:
        return f"0 {steps[-1][2]}"
    for threshold, size, unit in steps:
        if abs(value) >= threshold:
            return f"{significant(value / size)} {unit}"
    _, size, unit = steps[-1]
    return f"{significant(value / size)} {unit}"


def seconds(value: float | None) -> str:
    """Return a time: µs to hours."""
    steps = ((7200.0, 3600.0, "h"), (180.0, 60.0, "min"), (1.0, 1.0, "s"), (1e-3, 1e-3, "ms"), (0.0, 1e-6, "µs"))
    return "0 s" if value == 0 else _scaled(value, steps)


def usd(value: float | None) -> str:
    """Return money in US dollars."""
    return NOTHING if value is None else f"${significant(value)}"


def joules(value: float | None) -> str:
    """Return energy: J to MWh; what is sold is counted in kWh."""
    steps = ((3.6e9, 3.6e9, "MWh"), (3.6e5, 3.6e6, "kWh"), (1e3, 1e3, "kJ"), (0.0, 1.0, "J"))
    return _scaled(value, steps)


def information(value: float | None) -> str:
    """Return memory: kB to TB, of powers of ten."""
    return _scaled(value, ((1e12, 1e12, "TB"), (1e9, 1e9, "GB"), (1e6, 1e6, "MB"), (0.0, 1e3, "kB")))


def watts(value: float | None) -> str:
    """Return power: W to MW."""
    return _scaled(value, ((1e6, 1e6, "MW"), (1e3, 1e3, "kW"), (0.0, 1.0, "W")))


def grams(value: float | None) -> str:
    """Return a mass of CO2 equivalent: g to t."""
    return _scaled(value, ((1e6, 1e6, "t"), (1e3, 1e3, "kg"), (0.0, 1.0, "g")))


def share(value: float | None) -> str:
    """Return a share in per cent; only what is exactly 1 is called 100 %."""
    if value is None:
        return NOTHING
    text = f"{100.0 * value:.1f}"
    if text == "100.0" and value < 1.0:
        text = "99.9"
    return f"{text} %"


def count(value: int | None) -> str:
    """Return a whole number with separators."""
    return NOTHING if value is None else f"{value:,}"
