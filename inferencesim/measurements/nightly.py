"""How the public nightly benchmark sets up its servers: batch limits, memory, and how long prompts are left waiting.

The launch scripts are those of SemiAnalysisAI/InferenceX, ``benchmarks/`` and ``benchmarks/single_node/``, one per
model, precision, chip and engine, as of early 2026. What a script leaves out is the engine's own default and not
stated here. The client is ``utils/bench_serving``; a run has ten requests per client unless its row says otherwise.

Waiting
    Two settings make a prompt wait for a number of decode steps while other sequences decode:

    * SGLang's ``--scheduler-recv-interval N``: the scheduler looks for new prompts every N decode steps, so one waits
      N/2 on average. On Blackwell N is 10 below sixteen clients and 30 from there on.
    * TensorRT-LLM's ``batch_wait_timeout_iters N``: the first prompt to come waits N steps, those which come
      meanwhile go with it.

    The stream interval (``--stream-interval``, ``stream_interval``) delays nothing that is measured: both engines
    send the first token at once (``len(output_ids) % interval == 1`` in SGLang's scheduler, ``py_decoding_iter == 1``
    in TensorRT-LLM's executor), and the client takes the time of the first message even if its text is empty.

Token budget
    SGLang's is the smaller of ``--chunked-prefill-size`` and ``--max-prefill-tokens`` (16384 if not given), vLLM's is
    ``--max-num-batched-tokens``, TensorRT-LLM's ``max_num_tokens``.

Memory
    ``--gpu-memory-utilization`` and ``--mem-fraction-static`` are shares of the whole memory. TensorRT-LLM's
    ``free_gpu_memory_fraction`` is one of what the weights leave free, so no share is stated for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inferencesim.measurements.precision import BLACKWELL

#: From this many clients on, SGLang's scripts for Blackwell poll less often.
MANY_CLIENTS = 16
REQUESTS_PER_CLIENT = 10
_ONE_K = (1024, 1024)
_EIGHT_CHIPS = 8
#: What the scripts add to prompt and answer for the longest sequence.
_CONTEXT_MARGIN = 200
_SMALLEST_BUDGET = 8192


@dataclass(frozen=True)
class Run:
    """What the nightly was asked to measure.

    Attributes
    ----------
    model, engine, hardware : str
        This project's ids.
    weights : str
        The format its script is named after: that of the experts, where they differ.
    prompt, output : int
        Nominal lengths in tokens.
    tensor : int
        Chips of one replica.
    clients : int
        Concurrency.
    """

    model: str
    engine: str
    hardware: str
    weights: str
    prompt: int
    output: int
    tensor: int
    clients: int


@dataclass(frozen=True)
class Settings:
    """What the script of a run passes to the server and to the client.

    Attributes
    ----------
    batching : dict of str to int
        ``token_budget`` and ``max_sequences``, as a pool's `batching` takes them; absent where not stated.
    memory_share : float or None
        Share of a chip's memory the engine may use; None if not stated.
    admission_steps : float
        Decode steps that a prompt waits, on average, before the engine considers it.
    requests_per_client : int
    """

    batching: dict[str, int]
    memory_share: float | None
    admission_steps: float
    requests_per_client: int


def settings(run: Run) -> Settings:
    """Return the settings of the first script of the table that fits; the last rows fit any model."""
    script = next((script for script in _SCRIPTS if script.serves(run)), _Script())
    limits = {"token_budget": script.token_budget, "max_sequences": script.max_sequences}
    batching = {name: int(_of(limit, run)) for name, limit in limits.items() if limit}
    return Settings(batching, script.memory_share, _of(script.admission_steps, run), script.requests_per_client)


_Amount = float | Callable[[Run], float]


def _of(amount: _Amount, run: Run) -> float:
    return amount(run) if callable(amount) else amount


@dataclass(frozen=True)
class _Script:
    """Which runs a script serves (whatever is empty fits any), and its settings (zero is not stated)."""

    engine: str = ""
    model: str = ""
    chips: tuple[str, ...] = ()
    weights: str = ""
    tensor: int = 0
    token_budget: _Amount = 0
    max_sequences: _Amount = 0
    memory_share: float | None = None
    admission_steps: _Amount = 0.0
    requests_per_client: int = REQUESTS_PER_CLIENT

    def serves(self, run: Run) -> bool:
        return (
            self.engine in ("", run.engine)
            and run.model.startswith(self.model)
            and (not self.chips or any(f"-{chip}" in run.hardware for chip in self.chips))
            and self.weights in ("", run.weights)
            and self.tensor in (0, run.tensor)
        )


def _clients(run: Run) -> int:
    return run.clients


def _at_least_128(run: Run) -> int:
    return max(run.clients, 128)


def _more_for_one_k(run: Run) -> int:
    return 512 if (run.prompt, run.output) == _ONE_K else 256


def _whole_context(run: Run) -> int:
    return run.prompt + run.output + _CONTEXT_MARGIN


def _a_prompt_and_all_clients(run: Run) -> int:
    return max(-(-(run.clients + run.prompt + 64) // 64) * 64, _SMALLEST_BUDGET)


def _polled(few: int, many: int) -> Callable[[Run], float]:
    """Return the mean wait for a poll every `few` steps, or every `many` where there are many clients."""
    return lambda run: (many if run.clients >= MANY_CLIENTS else few) / 2.0


def _gathered(run: Run, steps: int) -> float:
    """Return the mean wait where the first prompt waits `steps` and those which come meanwhile go with it."""
    followers = steps * run.clients / run.output
    return steps * (1.0 + followers / 2.0) / (1.0 + followers)


def _gathered_for_llama(run: Run) -> float:
    return _gathered(run, 20) if (run.prompt, run.output) == _ONE_K and run.tensor < _EIGHT_CHIPS else 0.0


def _gathered_for_deepseek(run: Run) -> float:
    return _gathered(run, 40) if (run.prompt, run.output) == _ONE_K and run.clients >= 64 else 0.0


_SCRIPTS = (
    # engine, model, chips, weights, tensor, token budget, sequences, memory, waiting
    _Script("sglang", "deepseek", ("b200",), "fp8", 4, 8192, 32, 0.95, _polled(10, 10)),
    _Script("sglang", "deepseek", ("b200",), "fp8", 0, 32768, 128, 0.82, _polled(10, 30)),
    _Script("sglang", "deepseek", ("b200",), "fp4", 0, 16384, 256, 0.85, _polled(10, 30)),
    _Script("sglang", "deepseek", ("h200",), "fp8", 0, 32768, _more_for_one_k, 0.82),
    _Script("sglang", "glm-5", ("b200",), "fp8", 0, 32768, _clients, 0.85),
    _Script("sglang", "glm-5", ("b200",), "fp4", 0, 32768, 0, 0.9, _polled(10, 10)),
    _Script("sglang", "glm-5", ("h200",), "fp8", 0, 0, 0, 0.85, requests_per_client=5),
    _Script("sglang", "qwen3.5", ("b200",), "bf16", 0, 32768, 128, 0.82, _polled(10, 30)),
    # The script we read has 128, but runs of 256 clients had a TTFT of 2 s, not of half an answer.
    _Script("sglang", "qwen3.5", ("b200",), "fp8", 0, 32768, _at_least_128, 0.82, _polled(10, 30)),
    _Script("sglang", "qwen3.5", ("b200",), "fp4", 0, 32768, _at_least_128, 0.85, _polled(30, 30)),
    _Script("sglang", "qwen3.5", ("h200",), "fp8", 0, 16384, 128, 0.8),
    _Script(
        "tensorrt-llm", "deepseek", ("b200",), "fp8", 0, _a_prompt_and_all_clients, 0, None, _gathered_for_deepseek
    ),
    _Script("tensorrt-llm", "deepseek", (), "", 0, _a_prompt_and_all_clients),
    _Script("tensorrt-llm", "gpt-oss", ("b200",), "fp4", 0, 20000, 512),
    _Script("tensorrt-llm", "gpt-oss", ("h200",), "fp4", 0, 20000, _clients),
    _Script("tensorrt-llm", "llama-3", ("b200",), "fp8", 0, 16384, 0, None, _gathered_for_llama),
    _Script("tensorrt-llm", "llama-3", (), "", 0, _whole_context, 0, None, _gathered_for_llama),
    _Script("vllm", "gpt-oss", ("b200",), "fp4", 0, 8192, 512, 0.9),
    _Script("vllm", "gpt-oss", ("h200", "h100"), "fp4", 0, 8192, _clients, 0.9),
    _Script("vllm", "llama-3", ("b200",), "", 0, 8192, 512, 0.9),
    _Script("vllm", "llama-3", ("h200", "h100"), "fp8", 0, 8192, _clients, 0.9),
    _Script("vllm", "kimi", ("b200",), "fp4", 0, 0, _clients, 0.9),
    _Script("vllm", "kimi", ("b200",), "int4", 0, 0, 0, 0.97),
    _Script("vllm", "kimi", ("h200",), "int4", 0, 0, _clients, 0.95),
    _Script("vllm", "minimax", ("b200",), "fp4", 0, 0, _clients, 0.9),
    _Script("vllm", "minimax", ("b200", "h200"), "fp8", 0, 0, 0, 0.95),
    _Script("vllm", "minimax", ("h100",), "fp8", 0, 0, 256, 0.9),
    # Any other model: what most scripts of the engine and the generation have.
    _Script("sglang", "", BLACKWELL, "", 0, 32768, _at_least_128, 0.85, _polled(10, 30)),
    _Script("sglang", "", (), "", 0, 16384, _at_least_128, 0.82),
    _Script("tensorrt-llm", "", (), "", 0, _a_prompt_and_all_clients),
    _Script("vllm", "", (), "", 0, 8192, _clients, 0.9),
)
