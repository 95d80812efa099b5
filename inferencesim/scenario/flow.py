"""What happens before placement: quotas of tenants, load that is shed, and work that is held for a better time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from inferencesim.errors import did_you_mean
from inferencesim.scenario.base import Part, PositiveTime, PricePerEnergy, Ratio, Tokens
from inferencesim.scenario.daily import DailyWindow
from inferencesim.scenario.unions import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferencesim.scenario.workload import WorkloadClass


class Quota(Part):
    """What one tenant may send into the fleet; None is no limit.

    Attributes
    ----------
    requests_per_minute, tokens_per_minute : float or None
        Token buckets. Tokens are prompt + output, the output as long as it will be: as if ``max_tokens`` said so.
    in_flight : int or None
        Requests in the fleet at a time.
    burst : float
        Seconds' worth that an idle tenant may send at once.
    beyond : str
        What is beyond: turned away (``shed``), or held until there is room, first come, first served (``queue``).
    """

    requests_per_minute: Ratio | None = None
    tokens_per_minute: Tokens | None = None
    in_flight: Annotated[int, Field(ge=1)] | None = None
    burst: PositiveTime = 60.0
    beyond: Literal["shed", "queue"] = "shed"

    @model_validator(mode="after")
    def _limits_something(self) -> Quota:
        if self.requests_per_minute is None and self.tokens_per_minute is None and self.in_flight is None:
            refuse("it limits nothing: say requests_per_minute, tokens_per_minute or in_flight")
        return self


class Shed(Part):
    """Work of some priority bands is turned away from the moment the load exceeds `above` until it is below `below`.

    The load is that of the pools a class may use: requests waiting and running / sequences they run together at most.

    Attributes
    ----------
    above : float
    below : float or None
        None is the same as `above`.
    bands : tuple of int
        Priorities of classes.
    """

    above: Ratio
    below: Ratio | None = None
    bands: Annotated[tuple[int, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _below_above(self) -> Shed:
        if self.below is not None and self.below > self.above:
            refuse(f"below ({self.below:g}) must not exceed above ({self.above:g})")
        return self


class Defer(Part):
    """Work tagged batchable is held until the first of these comes true; where one is true already, it is not held.

    Attributes
    ----------
    batch : int or None
        So many of its class are held: all of them go.
    windows : tuple of DailyWindow
        One of them is open: all go.
    price_below : float or None
        US dollars per joule. Electricity costs less, at one site at least where pools may serve work that is held: all
        go, as if the hours at which it does were `windows`.
    load_below : float or None
        The load (see :class:`Shed`) is below it: they go one by one, the first come first, while it is.
    margin : float
        The slack runs out: what is promised (deadline or E2E, the sooner) is `margin` times its time alone away.
    """

    batch: Annotated[int, Field(ge=2)] | None = None
    windows: tuple[DailyWindow, ...] = ()
    price_below: PricePerEnergy | None = None
    load_below: Ratio | None = None
    margin: Annotated[Ratio, Field(ge=1)] = 2.0


class Flow(Part):
    """Flow control; left out, everything goes to placement as it comes.

    Attributes
    ----------
    quotas : dict of Quota
        By tenant: ``tags.tenant`` of its classes, or the name of a class without one.
    shed : tuple of Shed
    defer : Defer or None
    """

    quotas: dict[str, Quota] = Field(default_factory=dict)
    shed: tuple[Shed, ...] = ()
    defer: Defer | None = None

    @property
    def is_active(self) -> bool:
        """Whether anything is controlled at all."""
        return bool(self.quotas or self.shed or self.defer)


def refuse_unfit(flow: Flow, workload: Sequence[WorkloadClass]) -> None:
    """Refuse what names nobody, and work that might be held for ever.

    Raises
    ------
    ValueError
    """
    tenants = {each.tags.tenant or each.name for each in workload}
    for name in flow.quotas:
        if name not in tenants:
            refuse(f"flow.quotas: no class is of the tenant {name!r}", did_you_mean(name, tenants))
    bands = {each.priority for each in workload}
    for index, rule in enumerate(flow.shed):
        for band in rule.bands:
            if band not in bands:
                known = ", ".join(str(each) for each in sorted(bands))
                refuse(f"flow.shed[{index}].bands: no class has priority {band}; there are {known or 'no classes'}")
    if flow.defer is None:
        return
    batchable = [each for each in workload if each.tags.batchable]
    if not batchable:
        refuse("flow.defer: no class is tagged batchable, so nothing would be held")
    if flow.defer.windows or flow.defer.price_below is not None or flow.defer.load_below is not None:
        return
    for each in batchable:
        if each.promise.deadline is None and each.promise.e2e is None:
            refuse(
                f"flow.defer: the last of {each.name!r} may be held for ever; promise a deadline, or give windows, "
                "price_below or load_below"
            )
