"""What every part of a scenario is made of: strict frozen models and quantities with units."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from inferencesim.errors import InputError
from inferencesim.units import to_si

#: ``vendor``: a vendor's document. ``measured``: somebody measured it. ``secondary``: read on a page which is
#: neither. ``fitted``: chosen so that simulations meet measurements; the source says which. ``assumption``:
#: recalled, inferred or chosen; the source says how.
Provenance = Literal["vendor", "measured", "secondary", "fitted", "assumption"]


class Part(BaseModel):
    """Base of all scenario models: frozen, and unknown keys are refused."""

    # A schema is built when it is first used, that of a part within its whole: a tenth of the start of a run.
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, validate_default=True)


def _quantity(dimension: str, *, whole: bool = False, **bounds: Any) -> Any:
    """Return an annotated number that reads text with units of `dimension`, within `bounds`; rounded if `whole`."""

    def read(value: object) -> float:
        try:
            number = to_si(value, dimension, "")
            return round(number) if whole else number
        except InputError as problem:
            text = " ".join(part for part in (f"{problem.what}.", problem.remedy) if part)
            raise PydanticCustomError("quantity", "{text}", {"text": text}) from problem

    described = dimension.replace("_", " ")
    schema = WithJsonSchema(
        {
            "type": ["number", "string"],
            "description": f"a {described}: text with a unit, or a plain SI number",
        }
    )
    return Annotated[int if whole else float, BeforeValidator(read), Field(**bounds), schema]


Time = _quantity("time", ge=0)
PositiveTime = _quantity("time", gt=0)
Rate = _quantity("rate", gt=0)
Bytes = _quantity("information", gt=0)
BytesPerTime = _quantity("bandwidth", gt=0)
Money = _quantity("money", ge=0)
PricePerTime = _quantity("price_per_time", ge=0)
PricePerEnergy = _quantity("price_per_energy", ge=0)
PricePerToken = _quantity("price_per_token", ge=0)
PricePerByte = _quantity("price_per_byte", ge=0)
Watts = _quantity("power", gt=0)
CarbonIntensity = _quantity("carbon_intensity", ge=0)
Fraction = _quantity("fraction", ge=0, le=1)
SampledShare = _quantity("fraction", gt=0, lt=1)
Ratio = _quantity("fraction", gt=0)
Tokens = _quantity("count", gt=0, le=1e9)
WholeTokens = _quantity("count", whole=True, ge=1, le=1e9)
