"""The words in which published points state lengths, load, parallelism and number formats."""

from __future__ import annotations

import re
from dataclasses import dataclass

from inferencesim.measurements.measurement import MeasuredLoad, TokenRange
from inferencesim.measurements.precision import served_precision

_LENGTHS = re.compile(r"^isl (\d+), osl (\d+)")
_TOTALS = re.compile(r"totals in (\d+) out (\d+)")
_RANGE_RATIO = re.compile(r"random-range-ratio ([\d.]+)")
_CONTEXT_DEPTH = re.compile(r"^context depth (\d+), osl (\d+)")
_PROMPT_ONLY = re.compile(r"^(?:isl |pp)(\d+)$")
_OUTPUT_ONLY = re.compile(r"^tg(\d+)$")

#: What a precision column may begin with or contain, and the format of the weights; the first that fits wins.
_WEIGHTS: tuple[tuple[str, str], ...] = (
    ("w4a16", "int4"),
    ("w:int8", "int8"),
    ("w:bf16", "bf16"),
    ("nvfp4", "fp4"),
    ("mxfp4", "fp4"),
    ("fp4", "fp4"),
    ("fp8", "fp8"),
    ("q8_0", "int8"),
    ("int8", "int8"),
    ("q4_", "int4"),
    ("int4", "int4"),
    ("bf16", "bf16"),
    ("f16", "bf16"),
    ("16-bit", "bf16"),
)


@dataclass(frozen=True)
class Spread:
    """How the chips of a published point were used."""

    parallelism: dict[str, int]
    replicas: int = 1


def parse_lengths(workload: str, notes: str, requests: int) -> tuple[TokenRange, TokenRange] | None:
    """Return prompt and output lengths; nothing where they are not stated.

    Totals in the notes outweigh the nominal lengths. A range ratio of r means
    uniform in [r, 1] × nominal, as in the benchmark that made the option common.
    """
    totals = _TOTALS.search(notes)
    if totals and requests:
        prompt, output = (round(int(total) / requests) for total in totals.groups())
        return TokenRange(prompt, prompt), TokenRange(output, output)
    if stated := _LENGTHS.match(workload) or _CONTEXT_DEPTH.match(workload):
        ratio = _RANGE_RATIO.search(workload)
        share = float(ratio[1]) if ratio else 1.0
        prompt, output = (int(length) for length in stated.groups())
        return TokenRange(round(share * prompt), prompt), TokenRange(round(share * output), output)
    if stated := _PROMPT_ONLY.match(workload):
        return TokenRange(int(stated[1]), int(stated[1])), TokenRange(1, 1)
    if stated := _OUTPUT_ONLY.match(workload):
        return TokenRange(1, 1), TokenRange(int(stated[1]), int(stated[1]))
    return None


def parse_requests(load: str, notes: str) -> int:
    """Return how many requests a point says it sent; 0 where it does not say."""
    for text in (load, notes):
        if stated := re.search(r"(\d+) (?:requests|prompts)", text):
            return int(stated[1])
    return 0


def parse_load(load: str, notes: str, prompt: TokenRange, output: TokenRange) -> MeasuredLoad | None:
    """Return the load; nothing where it names a scenario whose rate or batch is not given."""
    requests = parse_requests(load, notes)
    if stated := re.match(r"^(?:static )?batch[= ](\d+)", load):
        size = int(stated[1])
        return MeasuredLoad("static", prompt, output, concurrency=size, requests=size)
    if stated := re.match(r"^concurrency (\d+)", load):
        return MeasuredLoad("closed", prompt, output, concurrency=int(stated[1]), requests=requests)
    if load.startswith("offline max") or load.endswith("submitted at once"):
        return MeasuredLoad("offline", prompt, output, requests=requests)
    if stated := re.match(r"^Poisson ([\d.]+) req/s", load):
        return MeasuredLoad("open", prompt, output, rate_per_s=float(stated[1]), requests=requests)
    return None


def parse_parallelism(words: str, chips: int) -> Spread | None:
    """Return how `chips` were used; nothing where that is not stated or does not add up.

    A degree that counts cores (NeuronCores, TensorCores) says that the tensor group is the whole machine.
    """
    if words in ("1", "single chip"):
        return Spread(_degrees(1)) if chips == 1 else None
    if re.search(r"NeuronCores|TensorCores|\(\d+ chips\)", words):
        return Spread(_degrees(chips))
    if stated := re.match(r"^DEP(\d+)", words):
        size = int(stated[1])
        return Spread(_degrees(size, expert=size, attention_data=size)) if size == chips else None
    degrees = {name: int(size) for name, size in re.findall(r"\b(tp|pp|ep)(\d+)", words)}
    replicas = re.search(r"x(\d+) replicas", words)
    copies = int(replicas[1]) if replicas else 1
    tensor, pipeline = degrees.get("tp", 0), degrees.get("pp", 1)
    if tensor * pipeline * copies != chips:
        return None
    attention = tensor if "attention-DP" in words else 1
    return Spread(_degrees(tensor, pipeline, degrees.get("ep", 1), attention), copies)


def parse_precision(words: str, model: str, hardware: str, engine: str) -> dict[str, str] | None:
    """Return the number formats; nothing where they are not stated."""
    text = words.lower()
    weights = next((format_ for word, format_ in _WEIGHTS if word in text), None)
    if weights is None:
        return None
    kv = None
    if "fp8 kv" in text or "fp8-kv" in text:
        kv = "fp8"
    elif "fp16 kv" in text:
        kv = "bf16"
    return served_precision(weights, model, hardware, engine, kv)


def _degrees(tensor: int, pipeline: int = 1, expert: int = 1, attention_data: int = 1) -> dict[str, int]:
    return {"tensor": tensor, "pipeline": pipeline, "expert": expert, "attention_data": attention_data}
