"""A chip as the simulator sees it: memory, compute, power, links, efficiencies, overheads, price."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from inferencesim.documents import read_yaml
from inferencesim.hardware.quantity import (
    Bandwidth,
    ComputeRate,
    Count,
    Duration,
    Information,
    Power,
    PricePerTime,
    Share,
)
from inferencesim.scenario.base import Part

#: Number formats a chip may multiply in hardware. ``bf16`` stands for any 16-bit float.
Precision = Literal["bf16", "fp8", "fp4", "int8", "int4"]

#: What sort of chip it is: a label in reports, and the class whose priors stand for what a profile leaves out.
#: Nothing is computed from it; tools are refused on a kind without cores.
Kind = Literal[
    "hbm_gpu",
    "gddr_gpu",
    "custom_accelerator",
    "lpddr_card",
    "wafer_scale",
    "lpu",
    "tpu",
    "trainium",
    "edge",
    "cpu",
]


class Memory(Part):
    """The memory that holds weights and KV cache; on a machine of SRAM alone, that SRAM.

    Attributes
    ----------
    type : str
        What it is (HBM3, LPDDR5X, SRAM): a label.
    capacity : Information
        Bytes per chip.
    bandwidth : Bandwidth
        Peak bytes per second per chip.
    """

    type: str = Field(min_length=1)
    capacity: Information
    bandwidth: Bandwidth


class PowerDraw(Part):
    """Electrical power per chip.

    Attributes
    ----------
    idle : Power
        Watts of a chip that is on and does nothing.
    peak : Power
        Watts at full load.
    host : Power
        Watts of the chip's share of its host: CPUs, network cards, switches, fans.
    """

    idle: Power
    peak: Power
    host: Power

    @model_validator(mode="after")
    def _ordered(self) -> PowerDraw:
        if self.idle.si >= self.peak.si:
            msg = "the idle power must be below the peak power"
            raise ValueError(msg)
        return self


class ScaleUp(Part):
    """The fast links between the chips of one domain.

    Attributes
    ----------
    bandwidth : Bandwidth
        Bytes per second, per direction, per chip.
    latency : Duration
        Seconds of one hop, that is of one step of a collective.
    domain : Count
        Chips that reach each other over these links.
    """

    bandwidth: Bandwidth
    latency: Duration
    domain: Count


class ScaleOut(Part):
    """The network between domains.

    Attributes
    ----------
    bandwidth : Bandwidth
        Bytes per second, per direction, per chip.
    latency : Duration
        Seconds of one message.
    """

    bandwidth: Bandwidth
    latency: Duration


class HostLink(Part):
    """The way between a chip's memory and its host's: PCIe, or what stands in its place.

    Attributes
    ----------
    bandwidth : Bandwidth
        Bytes per second, per direction, per chip.
    latency : Duration
        Seconds of one copy, beside its bytes.
    """

    bandwidth: Bandwidth
    latency: Duration


class Efficiency(Part):
    """Shares of the peaks that real kernels reach.

    Attributes
    ----------
    compute : Share
        Of peak FLOPS, in large matrix multiplications.
    memory : Share
        Of peak bandwidth, when streaming weights.
    cache : Share
        Of peak bandwidth, when reading the KV cache in decode.
    attention : Share
        Of peak FLOPS, in prefill attention.
    expert_compute, expert_memory : Share
        Of peak FLOPS and bandwidth, in the grouped multiplications of experts.
    four_bit_compute : Share
        What arithmetic in four bits reaches of these shares, of its own peak.
    four_bit_memory : Share
        What dense weights of four bits reach of `memory`: their kernels unpack and rescale.
    link : Share
        Of link bandwidth, in large collectives.
    overlap : Share
        How much of the shorter of compute and memory time is hidden behind the longer.
    half_rows : Count
        Rows (tokens) at which a matrix multiplication reaches half of its efficiency: what its tiles waste.
    """

    compute: Share
    memory: Share
    cache: Share
    attention: Share
    expert_compute: Share
    expert_memory: Share
    four_bit_compute: Share
    four_bit_memory: Share
    link: Share
    overlap: Share
    half_rows: Count


class Overhead(Part):
    """Time which passes whatever the batch.

    Attributes
    ----------
    step : Duration
        Seconds per forward pass: launch and synchronisation by hardware and driver.
    layer : Duration
        Seconds per plain transformer layer of four weight matrices: kernel launches and barriers; hops and
        synchronisation on machines that spread a layer over cores or chips. A layer with more matrices takes
        more in proportion.
    expert_layer : Duration
        Seconds more per layer with experts: routing, permutation and gather of its tokens.
    collective : Duration
        Seconds per collective beside the latency of its links.
    """

    step: Duration
    layer: Duration
    expert_layer: Duration
    collective: Duration


class Price(Part):
    """What a chip costs while it is owned or rented.

    Attributes
    ----------
    per_chip : PricePerTime
        US dollars per second, its share of the host included.
    includes_power : bool
        Whether electricity is in that price, as it is in a cloud's.
    """

    per_chip: PricePerTime
    includes_power: bool = Field(strict=True)


@functools.cache
def _priors() -> dict[str, dict[str, dict[str, Any]]]:
    """Return `host_link`, `efficiency` and `overhead` of each kind of chip, as a profile would write them."""
    tree: Any = read_yaml(Path(__file__).parent / "priors.yaml", "priors.yaml")
    return dict(tree)


class HardwareProfile(Part):
    """One kind of chip, from its datasheet, with the source of every number.

    Attributes
    ----------
    schema_version : int
        ``schema`` in YAML: the version of this format.
    id : str
        Lower-case words joined by hyphens.
    name, vendor : str
        As printed on the box.
    kind : str
        The class of chip: a label in reports, and whose priors fill in what the profile leaves out of
        `host_link`, `efficiency` and `overhead` (``priors.yaml``).
    status : {"shipping", "announced"}
        Whether it can be had.
    cooling : {"air", "liquid", "passive"}
        What the site must provide; ``passive`` cards live on the server's air.
    memory, power, scale_up, scale_out, host_link, efficiency, overhead, price
        See the classes of these names.
    compute : dict of Precision to ComputeRate
        Dense peak FLOPS per chip and number format; a format the hardware lacks is absent, ``bf16`` is
        always there.
    chips_per_node : Count
        Chips that share one host.
    usable_memory : Share
        Of the capacity, what weights and KV cache may use; the rest is runtime, activations, fragmentation.
    notes : str
        What a reader should know.
    """

    schema_version: Literal[1] = Field(alias="schema")
    id: str = Field(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$")
    name: str = Field(min_length=1)
    vendor: str = Field(min_length=1)
    kind: Kind
    status: Literal["shipping", "announced"]
    cooling: Literal["air", "liquid", "passive"]
    memory: Memory
    compute: dict[Precision, ComputeRate]
    power: PowerDraw
    scale_up: ScaleUp
    scale_out: ScaleOut
    host_link: HostLink
    chips_per_node: Count
    efficiency: Efficiency
    overhead: Overhead
    price: Price
    usable_memory: Share
    notes: str = ""

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, profile: Any) -> Any:
        """Take what the profile does not say about its host link and its kernels from the priors of its class."""
        if not isinstance(profile, dict) or profile.get("kind") not in _priors():
            return profile
        filled = dict(profile)
        for block, prior in _priors()[profile["kind"]].items():
            own = profile.get(block, {})
            filled[block] = {**prior, **own} if isinstance(own, dict) else own
        return filled

    @model_validator(mode="after")
    def _computes_in_16_bit(self) -> HardwareProfile:
        if "bf16" not in self.compute:
            msg = "compute.bf16 is missing: every profile needs a 16-bit rate, which other formats fall back to"
            raise ValueError(msg)
        return self

    def __hash__(self) -> int:
        # The mapping of compute rates has no hash of its own; equal profiles have equal ids.
        return hash(self.id)
