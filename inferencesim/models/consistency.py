"""What the fields of a model must not contradict."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferencesim.models.spec import ModelSpec


def require_consistent(spec: ModelSpec) -> None:
    """Raise a ValueError that names the fields of a model which contradict each other, if any do."""
    for wrong, msg in (
        ((spec.kind == "moe") != (spec.moe is not None), "kind must be 'moe' exactly if there is a moe block"),
        (spec.moe_layers > spec.layers, f"moe.layers is {spec.moe_layers}, of only {spec.layers} layers"),
        (spec.dense_layers > 0 and spec.dense_ffn is None, "dense_ffn is missing: some layers are dense"),
        (spec.dense_layers == 0 and spec.dense_ffn is not None, "dense_ffn is given, but no layer is dense"),
        (spec.mla is None and spec.head_dim is None, "head_dim is missing"),
        (spec.mla is not None and spec.head_dim is not None, "head_dim is given beside mla, which has its own"),
        (spec.heads % spec.kv_heads != 0, f"{spec.heads} heads cannot share {spec.kv_heads} kv_heads evenly"),
        (spec.mla is not None and spec.output_gate, "output_gate is given beside mla, which has none"),
        (
            spec.linear_layers > spec.layers,
            f"linear_attention.layers is {spec.linear_layers}, of only {spec.layers} layers",
        ),
        (
            spec.windowed_layers > spec.attention_layers,
            f"windowed_layers exceeds the {spec.attention_layers} layers with attention",
        ),
        (
            spec.sparse_attention is not None and spec.mla is None,
            "sparse_attention needs mla: its indexer reads the compressed query",
        ),
        (
            spec.sparse_attention is not None and spec.windowed_layers > 0,
            "sparse_attention and windowed_layers exclude each other",
        ),
        (
            (spec.sliding_window is not None) != (spec.windowed_layers > 0),
            "sliding_window and windowed_layers belong together: give both or neither",
        ),
        (
            spec.generates and not spec.causal_cache,
            f"capabilities {', '.join(spec.capabilities)} need a causal_cache: tokens are sampled one after another",
        ),
        (
            spec.mla is not None and spec.cross_attends,
            "encoder.cross_attention is of plain attention: it excludes mla",
        ),
        (bool(spec.sources.keys() - type(spec).model_fields.keys()), "sources names a field that does not exist"),
    ):
        if wrong:
            raise ValueError(msg)
