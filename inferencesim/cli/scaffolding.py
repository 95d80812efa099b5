"""Commands that write a commented file to start from."""

from __future__ import annotations

from typing import Annotated

import typer

from inferencesim.cli.console import guarded, say, write_text

new = typer.Typer(no_args_is_help=True, help="Write a commented file to start from.", rich_markup_mode=None)

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="Where to; - is stdout.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite the file.")]

SCENARIO_TEMPLATE = """\
# A scenario: a fleet, a load and a routing policy. It runs as it is:  inferencesim run FILE
# Quantities have units (40/s, 1h, 80 GiB, $2.5/h) or are plain SI numbers.
# Editors complete the keys with the output of `inferencesim schema`.
name: my-fleet
question: "Do two H100s and two L40S keep the promises of a chat service, and at what cost?"
seed: 1
horizon: 10min             # arrivals stop here
warm_up: 1min              # left out of all statistics
drain: 2min                # how long work still inside may finish

# Pools are identical replicas at one site. See `inferencesim hardware list` and `inferencesim models list`.
pools:
  - name: premium
    hardware: nvidia-h100-sxm
    model: llama-3.1-8b
    replicas: 2
    precision: fp8          # or {weights: fp8, activations: fp8, kv: fp8}
    # parallelism: {tensor: 2, pipeline: 1}
    # engine: vllm          # vllm, sglang, tensorrt-llm, compiled, generic
    # batching: {max_sequences: 256, token_budget: 8192, block_size: 16, kv: on_demand}
    # site: us-east-virginia
    # queue_limit: 500      # more than that are rejected
    # price: $2.5/h         # per chip, instead of the profile's
  - name: economy
    hardware: nvidia-l40s
    model: llama-3.1-8b
    replicas: 2
    precision: fp8

# Classes of work: arrivals, lengths, the models that may serve them, promises.
workload:
  - name: chat
    arrivals: {process: poisson, rate: 15/s}
    # arrivals: {process: gamma, rate: 15/s, cv: 3}
    # arrivals: {process: burst, requests: 500}        # all at once
    # arrivals: {process: closed, clients: 50, think_time: 20s}      # requests: 500 stops them after so many
    # arrivals: {process: trace, file: trace.csv}      # then without lengths: the trace has them
    prompt_tokens: {distribution: lognormal, median: 800, p95: 3000, max: 8000}
    output_tokens: {distribution: lognormal, median: 150, p95: 600, max: 2000}
    models: [llama-3.1-8b]
    promise: {ttft: 1s, tpot: 60ms}
    timeout: 30s            # the client gives up if no token came by then
  - name: summaries
    arrivals: {process: poisson, rate: 1/s}
    prompt_tokens: {distribution: uniform, low: 4000, high: 12000}
    output_tokens: 300
    models: [llama-3.1-8b]
    promise: {deadline: 5min}

# Placement chooses the pool, balancing the replica inside it. See `inferencesim policies list`.
routing:
  placement: cheapest_feasible
  balancing: least_outstanding
  # snapshot_age: 100ms     # how old what they see is
"""


@new.command("scenario")
@guarded
def new_scenario(file: FileArgument = "-", force: ForceOption = False) -> None:
    """Write a commented scenario that runs as it is."""
    write_text(file, SCENARIO_TEMPLATE, force)


@new.command("hardware")
@guarded
def new_hardware(
    name: Annotated[str, typer.Argument(metavar="ID", help="What the chip is called.")],
    file: FileArgument = "-",
    force: ForceOption = False,
) -> None:
    """Write a commented hardware profile, and say which of its numbers a datasheet must fill in."""
    from inferencesim.hardware.scaffold import hardware_template

    text = hardware_template(name)
    write_text(file, text, force)
    _say_what_is_left(text, "FILE" if file == "-" else file)


def _say_what_is_left(template: str, file: str) -> None:
    """Name the numbers of a fresh hardware profile that are to be replaced, and those that stand for a class."""
    from inferencesim.documents import parse_yaml, validated
    from inferencesim.hardware.profile import HardwareProfile
    from inferencesim.hardware.scaffold import CLASS_PRIOR, FILL_IN
    from inferencesim.report.profiles import quantities

    numbers = list(quantities(validated(parse_yaml(template, file), HardwareProfile, file)))

    def paths(source: str) -> str:
        return ", ".join(path for path, quantity in numbers if quantity.source == source)

    say(f"fill in from a datasheet: {paths(FILL_IN)}")
    say(f"class priors, until measured: {paths(CLASS_PRIOR)}")
    say(f"then check it with: inferencesim hardware show {file}")
