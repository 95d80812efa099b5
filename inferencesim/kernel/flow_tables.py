"""The tables of flow control: who is held at the gateway, and under which rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inferencesim.references import by_reference

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Floats, Integers, Records

#: What ended a request's wait at the gateway: there was none, it left or is there still; enough of its class had come,
#: a window opened, the load fell, its slack ran out; its tenant had quota again.
NOT_HELD, NOT_RELEASED, BATCH, WINDOW, LOAD_FELL, SLACK, QUOTA = range(7)
RELEASES = ("not_held", "not_released", "batch", "window", "load", "slack", "quota")

#: Held requests in the order in which they came: a line per class for what is deferred, then one per tenant.
LINE = np.dtype(
    [
        ("head", np.int64),
        ("tail", np.int64),
        ("held", np.int64),
        ("leaving", np.int64),  # of those, so many go at this instant
        ("released", np.int64),  # and what ends their wait
        ("opens_s", np.float64),  # when it is looked at next, infinite: not before somebody comes or leaves
    ]
)

#: What a tenant may send. Buckets are kept as the moments at which they will be full again.
QUOTA_OF = np.dtype(
    [
        ("limited", np.int64),
        ("queues", np.int64),  # what is beyond is held; else it is turned away
        ("request_s", np.float64),  # seconds in which the quota of one request comes back
        ("token_s", np.float64),  # likewise of one token; 0: no limit
        ("burst_s", np.float64),  # that an empty bucket takes to be full
        ("requests_full_s", np.float64),
        ("tokens_full_s", np.float64),
        ("in_flight", np.int64),
        ("most_in_flight", np.int64),  # −1: no limit
    ]
)

#: How work of a class is deferred.
DEFERRAL = np.dtype(
    [
        ("deferrable", np.int64),
        ("batch", np.int64),  # so many go together, 0: they do not
        ("load_below", np.float64),  # they go while the load is; 0: never
        ("promised_s", np.float64),  # from arrival
        ("margin", np.float64),  # times alone that are left when the slack is gone
        ("pool", np.int64),  # where the time alone is imagined, −1: nowhere
    ]
)


@by_reference
class Flow(NamedTuple):
    """Flow control of `C` classes and `T` tenants in front of `P` pools."""

    active: int  #: 0: nothing is controlled
    lines: Records  #: LINE[C + T]
    quotas: Records  #: QUOTA_OF[T]
    deferrals: Records  #: DEFERRAL[C]
    windows: Floats  #: when they open and close, from the beginning of the day, (windows, 2)
    thresholds: Floats  #: of load, above which a rule sheds and below which it stops, (rules, 2)
    shedding: Integers  #: whether a rule sheds a class now; −1: not in its bands; (rules, C)
    uses: Integers  #: whether a class may use a pool, (C, P)
    seats: Integers  #: sequences that a pool runs together at most, (P)
