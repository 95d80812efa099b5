"""Numbers as a person reads them: three significant digits, a fitting unit, a dash for what does not exist."""

from __future__ import annotations

NOTHING = "–"


def significant(value: float | None, digits: int = 3) -> str:
    """Return a number with `digits` significant digits and no exponent where that stays short."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    text = f"{value:.{digits}g}"
    if "e" in text and abs(value) >= 1e-7:
        text = f"{value:.10f}".rstrip("0")
        # Cut to the digits asked for, counted from the first that is not zero.
        first = next(i for i, character in enumerate(text) if character in "123456789")
        text = f"{value:.{first - text.index('.') + digits - 1}f}"
    return text


def _scaled(value: float | None, steps: tuple[tuple[float, str], ...]) -> str:
    if value is None:
        return NOTHING
    for size, unit in steps:
        if abs(value) >= size:
            return f"{significant(value / size)} {unit}"
    size, unit = steps[-1]
    return f"{significant(value / size)} {unit}"


def seconds(value: float | None) -> str:
    """Return a time: µs to hours."""
    return _scaled(value, ((7200.0, "h"), (180.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs")))


def usd(value: float | None) -> str:
    """Return money in US dollars."""
    return NOTHING if value is None else f"${significant(value)}"


def joules(value: float | None) -> str:
    """Return energy: J to MWh; what is sold is counted in kWh."""
    return _scaled(value, ((3.6e9, "MWh"), (3.6e6, "kWh"), (1e3, "kJ"), (1.0, "J")))


def watts(value: float | None) -> str:
    """Return power: W to MW."""
    return _scaled(value, ((1e6, "MW"), (1e3, "kW"), (1.0, "W")))


def grams(value: float | None) -> str:
    """Return a mass of CO2 equivalent: g to t."""
    return _scaled(value, ((1e6, "t"), (1e3, "kg"), (1.0, "g")))


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
