"""Quantities with units, read into plain SI numbers.

A scenario says ``40/s``, ``1h``, ``80 GiB`` or ``$2.5/h``; everything behind the
scenario computes in seconds, bytes, watts, joules, US dollars and counts. Pint
does the algebra, over a small set of units of our own: its full registry takes
half a second to load and would read ``5m`` as five metres.
"""

from __future__ import annotations

import functools
import math
import re
from typing import Any

from inferencesim.errors import InputError

_DEFINITIONS = """
micro- = 1e-6 = u- = µ-
nano- = 1e-9 = n-
milli- = 1e-3 = m-
kilo- = 1e3 = k-
mega- = 1e6 = M-
giga- = 1e9 = G-
tera- = 1e12 = T-
peta- = 1e15 = P-
kibi- = 1024 = Ki-
mebi- = 1048576 = Mi-
gibi- = 1073741824 = Gi-
tebi- = 1099511627776 = Ti-

second = [time] = s = sec
minute = 60 * second = min
hour = 3600 * second = h = hr
day = 86400 * second = d
week = 604800 * second
month = 2629746 * second
year = 31556952 * second = yr = a
byte = [information] = B
bit = byte / 8 = b
joule = [energy] = J
watt = joule / second = W
watthour = 3600 * joule = Wh
dollar = [money] = USD
cent = 0.01 * dollar
flop = [operation] = FLOP
flops = flop / second = FLOPS
ops = flop / second = OPS
gram = [mass] = g
token = [] = tok
request = [] = req
percent = 0.01 = _ = pct
"""

#: Dimension → the SI unit its numbers are in.
SI_UNITS = {
    "time": "second",
    "rate": "1 / second",
    "information": "byte",
    "bandwidth": "byte / second",
    "power": "watt",
    "energy": "joule",
    "money": "dollar",
    "price_per_time": "dollar / second",
    "price_per_energy": "dollar / joule",
    "price_per_token": "dollar",
    "price_per_byte": "dollar / byte",
    "compute": "flop / second",
    "carbon_intensity": "gram / joule",
    "count": "",
    "fraction": "",
}

_EXAMPLES = {
    "time": "'90s', '5min' or '1h'",
    "rate": "'40/s' or '2400/min'",
    "information": "'80 GB' or '80 GiB'",
    "bandwidth": "'3.35 TB/s'",
    "power": "'700 W'",
    "energy": "'1.2 kWh'",
    "money": "'$20'",
    "price_per_time": "'$2.5/h'",
    "price_per_energy": "'$80/MWh'",
    "price_per_token": "'$0.6/Mtok'",
    "price_per_byte": "'$0.09/GB'",
    "compute": "'989 TFLOPS'",
    "carbon_intensity": "'350 g/kWh'",
    "count": "'4096 tokens' or '8k tokens'",
    "fraction": "'85%' or 0.85",
}


_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_UNITS = r"[^\W\d_]+(?:\s+[^\W\d_]+)*"
#: One number and its units. Pint reads any sum or power of several, and skips commas.
_QUANTITY = re.compile(rf"{_NUMBER}\s*(?:{_UNITS})?(?:\s*[/*]\s*{_UNITS}|\s*/\s*{_NUMBER})*\s*")


@functools.cache
def _registry() -> Any:
    """Return the unit registry; built once, and only when a quantity with a unit is met."""
    import pint

    registry: Any = pint.UnitRegistry(None, on_redefinition="raise")
    for line in _DEFINITIONS.splitlines():
        if line.strip():
            registry.define(line.strip())
    return registry


def to_si(value: object, dimension: str, where: str) -> float:
    """Read a quantity into the SI number of its dimension.

    Parameters
    ----------
    value : str or number
        ``"40/s"``, ``"80 GiB"``, ``"$2.5/h"``, or a plain number, taken as SI.
    dimension : str
        A key of :data:`SI_UNITS`.
    where : str
        Place named in the error.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If the text is no quantity, or one of another dimension.
    """
    unit = SI_UNITS[dimension]
    if isinstance(value, bool) or value is None:
        raise InputError(where, f"{value!r} is not a quantity", f"Write it as {_EXAMPLES[dimension]}.")
    if isinstance(value, (int, float)):
        try:
            return _finite(float(value), value, where)
        except OverflowError:
            raise InputError(where, "the number is too large to be one") from None
    text = str(value).strip()
    try:
        return _finite(float(text), value, where)
    except ValueError:
        pass
    prepared = re.sub(r"\$\s*([0-9.eE+-]+)", r"\1 dollar", text)
    prepared = prepared.replace("%", " percent")
    # "40/s" alone is a product pint can read; "8k tokens" has its prefix on the number.
    prepared = re.sub(r"^([0-9.]+)\s*k(\s+(?:tokens?|tok|requests?|req))\b", r"\1e3\2", prepared)
    prepared = re.sub(r"^([0-9.]+)\s*k$", r"\1e3", prepared)
    prepared = re.sub(r"\b(tokens|requests|hours|minutes|seconds|days|weeks|months|years)\b", _singular, prepared)
    if not _QUANTITY.fullmatch(prepared):
        raise _no_quantity(text, dimension, where)
    try:
        number = float(_registry().Quantity(prepared).to(unit).magnitude)
    except Exception as problem:  # pint raises many kinds, also those of its parser
        raise _no_quantity(text, dimension, where) from problem
    return _finite(number, value, where)


def _no_quantity(text: str, dimension: str, where: str) -> InputError:
    remedy = f"Write it as {_EXAMPLES[dimension]}, or as a plain SI number."
    if re.search(r"\d[, ]\d", text):
        remedy += " Decimals come after a point; thousands have nothing between them."
    return InputError(where, f"{text!r} is not a {dimension.replace('_', ' ')}", remedy)


def _singular(match: re.Match[str]) -> str:
    return match.group(1)[:-1]


def _finite(number: float, value: object, where: str) -> float:
    if not math.isfinite(number):
        raise InputError(where, f"{value!r} is not a finite number")
    return number
