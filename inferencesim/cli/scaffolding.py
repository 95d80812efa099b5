"""Commands that write a file to start from: commented templates, and step tables made of measurements."""

# ruff: noqa: TC003 - typer reads the annotations at run time

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inferencesim.cli.console import guarded, require_writable, say, write_text
from inferencesim.errors import InputError

if TYPE_CHECKING:
    from inferencesim.hardware.profile import HardwareProfile
    from inferencesim.measurements.operators import Link

new = typer.Typer(no_args_is_help=True, help="Write a file to start from.", rich_markup_mode=None)

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
    tags: {human_waiting: true}     # batchable, latency_sensitivity, fallback_risk, tenant; tag_aware goes by them
  - name: summaries
    like: batch_summarisation       # all that is not said here; see `inferencesim classes list`
    arrivals: {process: poisson, rate: 1/s}
    models: [llama-3.1-8b]
    promise: {deadline: 5min}

# Whole tasks of many calls and tools; see `inferencesim tasks list`, and `tasks show` for what each needs.
# tools:
#   - {name: sandboxes, hardware: amd-epyc-9965, cores: 64}
# tasks:
#   - like: coding_agent
#     arrivals: {process: poisson, rate: 60/h}
#     models: [llama-3.1-8b]

# Placement chooses the pool, balancing the replica inside it. See `inferencesim policies list`.
routing:
  placement: cheapest_feasible
  balancing: least_outstanding
  # snapshot_age: 100ms     # how old what they see is

# Rows are kept of every request and decision; the summary counts all of them in any case.
# recording: {evidence: sampled, share: 1%}           # or evidence: off
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


@new.command("step-table")
@guarded
def new_step_table(
    profile: Annotated[
        Path, typer.Argument(metavar="PROFILE_FOLDER", help="Operator profile of one chip and model: meta.yaml, tp1/ …")
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="Where to.")],
    hardware: Annotated[str, typer.Option("--hardware", metavar="ID|FILE", help="The chip that was profiled.")],
    model: Annotated[str, typer.Option("--model", metavar="ID|FILE", help="The model that was profiled.")],
    tensor: Annotated[int, typer.Option("--tensor", metavar="N", help="Chips of the tensor group.")] = 1,
    link_bandwidth: Annotated[
        str | None, typer.Option("--link-bandwidth", metavar="RATE", help="Of an all-reduce, as in '12.5 GB/s'.")
    ] = None,
    link_latency: Annotated[
        str | None, typer.Option("--link-latency", metavar="TIME", help="Of its messages, as in 5us.")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Write the step table of a deployment whose operators were profiled one by one.

    Profiles hold no communication: an all-reduce meets the profile's scale-up link, unless options say what it reaches.
    """
    from inferencesim.deployment.step_table import write_step_table
    from inferencesim.hardware.catalog import load_profile
    from inferencesim.measurements.operators import read_operators
    from inferencesim.models.catalog import load_model

    require_writable(str(file), force)
    chip = load_profile(hardware, "--hardware")
    link = _link(chip, link_bandwidth, link_latency)
    table = read_operators(profile, chip.id, load_model(model, "--model"), tensor, link)
    write_step_table(table, file)
    say(f"wrote {file}")
    if tensor > 1:
        say(f"all-reduce among {tensor} chips: {link.bytes_per_s / 1e9:g} GB/s, {link.latency_s * 1e6:g} us a message")
    say(
        f"measured up to: max_sequences {table.most_sequences:g}, token_budget {table.most_tokens:g}, "
        f"{table.longest_context:g} tokens of context"
    )
    say(f"a pool of {table.hardware} with {table.model} and tensor: {tensor} uses it with: latency: {{table: {file}}}")


def _link(chip: HardwareProfile, bandwidth: str | None, latency: str | None) -> Link:
    """Return the chip's scale-up link, with what is given in its place."""
    from inferencesim.measurements.operators import Link
    from inferencesim.units import to_si

    link = Link.of(chip)
    bytes_per_s = link.bytes_per_s if bandwidth is None else to_si(bandwidth, "bandwidth", "--link-bandwidth")
    latency_s = link.latency_s if latency is None else to_si(latency, "time", "--link-latency")
    if bytes_per_s <= 0.0:
        raise InputError("--link-bandwidth", f"{bandwidth} is not above zero", "Write it as '12.5 GB/s'.")
    if latency_s < 0.0:
        raise InputError("--link-latency", f"{latency} is below zero", "Write it as 5us.")
    return Link(bytes_per_s, latency_s)
