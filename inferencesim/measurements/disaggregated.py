"""Who prefilled and who decoded: the workers of a disaggregated row of the silicon table.

Columns ``prefill_*`` and ``decode_*`` state each side: ``num_workers`` copies, each of ``tp_size`` ×
``attention_dp_size`` chips, one of the two being one; attention is data-parallel over all chips where the latter is not
one. ``moe_tp_size`` × ``moe_ep_size`` are the same chips once more, as the experts see them. ``decode_batch_size``
counts the sequences of one attention rank. How KV went from one side to the other is not stated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from inferencesim.measurements.measurement import NotReproducibleError, Workers
from inferencesim.models.catalog import load_model

if TYPE_CHECKING:
    from inferencesim.measurements.cells import Row

Side = Literal["prefill", "decode"]

_OF_EACH_SIDE = ("num_workers", "tp_size", "pp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
WORKER_COLUMNS = (*(f"{side}_{name}" for side in get_args(Side) for name in _OF_EACH_SIDE), "decode_batch_size")


def workers(row: Row, side: Side, model: str) -> Workers:
    """Return the workers of one side.

    Raises
    ------
    NotReproducibleError
        If their number, or how they spread the model, is not stated or contradicts itself.
    """
    count = row.whole(f"{side}_num_workers")
    if not count:
        msg = "disaggregated: worker counts not stated"
        raise NotReproducibleError(msg)
    tensor, ranks = (max(row.whole(f"{side}_{name}") or 1, 1) for name in ("tp_size", "attention_dp_size"))
    chips, expert = tensor * ranks, 1
    if load_model(model, row.place("model_path")).moe is not None:
        shares, expert = (row.whole(f"{side}_{name}") or 0 for name in ("moe_tp_size", "moe_ep_size"))
        if shares * expert == 0:
            msg = "disaggregated: how experts are spread is not stated"
            raise NotReproducibleError(msg)
        if shares * expert != chips:
            msg = "disaggregated: attention and experts are spread over different numbers of chips"
            raise NotReproducibleError(msg)
    parallelism = {
        "tensor": chips,
        "pipeline": row.whole(f"{side}_pp_size") or 1,
        "expert": expert,
        "attention_data": ranks,
    }
    return Workers(parallelism, count)


def decoding_at_once(row: Row) -> int:
    """Return the sequences that all decode workers are said to hold together; 0 if that is not stated."""
    names = ("decode_batch_size", "decode_num_workers", "decode_attention_dp_size")
    batch, count, ranks = (row.whole(name) or 0 for name in names)
    return batch * count * max(ranks, 1)
