"""A small operator profile: times of the layers of the small model on one chip and on two."""

from __future__ import annotations

DENSE = """layer,tokens,time_us
embedding,1,100
embedding,8,200
layernorm,1,10
layernorm,8,20
qkv_proj,1,1000
qkv_proj,8,3000
final_layernorm,1,30
final_layernorm,8,40
"""
ATTENTION = """prefill_chunk,kv_prefill,n_decode,kv_decode,time_us
0,0,1,16,10
0,0,1,64,20
0,0,4,16,30
0,0,4,64,60
4,0,0,0,5
4,32,0,0,6
6,0,0,0,7
8,0,0,0,9
8,32,0,0,12
8,0,4,64,80
"""
SEQUENCES = "layer,sequences,time_us\nlm_head,1,500\nlm_head,4,600\nsampler,1,50\nsampler,4,70\n"


def write_operator_profile(folder):
    """Write the profile into a new folder, and return it."""
    for degree in (1, 2):
        place = folder / f"tp{degree}"
        place.mkdir(parents=True)
        (place / "dense.csv").write_text(DENSE)
        (place / "attention.csv").write_text(ATTENTION)
        (place / "per_sequence.csv").write_text(SEQUENCES)
    (folder / "meta.yaml").write_text("model: small\ngpu: chip\nvllm_version: 0.19.0\nprofiled_at: '2026-08-17'\n")
    return folder
