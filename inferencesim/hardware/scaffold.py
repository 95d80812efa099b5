"""A hardware profile to fill in, for a chip which is not shipped."""

from __future__ import annotations

import json
import re

from inferencesim.errors import InputError

#: Source of a number in the template that a datasheet replaces.
FILL_IN = "fill in"

#: Source of a number that datasheets leave out.
CLASS_PRIOR = "class prior"

_TEMPLATE = """\
# {name}: say here what the chip is, in a line or two.
#
# Every number is a value with its unit, the source it comes from, and a provenance:
#   vendor       a document of the vendor
#   measured     somebody measured it; say who, where and how
#   secondary    a page which is neither
#   assumption   recalled, inferred or chosen; say how in `source` or `note`
# The numbers below are those of no chip, and of two kinds:
#   source "fill in"      a datasheet says it: put its number there, with its source and provenance. Where nothing
#                         is published, keep an assumption and say how it was reached.
#   source "class prior"  datasheets leave it out: what chips of this size usually have. Keep it until somebody
#                         measures, or copy it from the nearest shipped profile (`inferencesim hardware list`).
# A `note` may stand beside any of them. `inferencesim hardware show FILE` checks the file and lists what it says.

schema: 1
id: {identifier}            # lower-case words joined by hyphens
name: {quoted}
vendor: Unknown
kind: custom_accelerator    # whose priors stand for what is left out: hbm_gpu, gddr_gpu, custom_accelerator,
                            # lpddr_card, wafer_scale, lpu, tpu, trainium, edge or cpu
status: announced           # shipping or announced
cooling: air                # air, liquid or passive: what the site must provide

# The memory that holds weights and KV cache, per chip. On a machine of SRAM alone, that SRAM.
memory:
  type: HBM
  capacity: {{value: 96, unit: GB, source: "fill in", provenance: assumption}}
  bandwidth: {{value: 3000, unit: GB/s, source: "fill in", provenance: assumption}}

# Dense peak rates per chip; vendors often print the sparse figure, which is twice as high. bf16 (or
# fp16, under that name) must be given. Of fp8, fp4, int8 and int4 give those which the hardware
# multiplies, and no others.
compute:
  bf16: {{value: 500, unit: TFLOPS, source: "fill in", provenance: assumption}}
  fp8: {{value: 1000, unit: TFLOPS, source: "fill in", provenance: assumption}}

# Per chip. `host` is the chip's share of CPUs, network cards, switches and fans. Change `idle` with `peak`.
power:
  idle: {{value: 84, unit: W, source: "class prior", provenance: assumption, note: "14 % of peak"}}
  peak: {{value: 600, unit: W, source: "fill in", provenance: assumption}}
  host: {{value: 200, unit: W, source: "class prior", provenance: assumption, note: "a server of 8 chips"}}

# The fast links between the chips of one domain: per direction and chip. Latency is that of one hop, that
# is of one step of a collective. A chip without such links has a domain of 1, or that of its PCIe host.
scale_up:
  bandwidth: {{value: 400, unit: GB/s, source: "fill in", provenance: assumption}}
  latency: {{value: 3, unit: us, source: "class prior", provenance: assumption, note: "through one switch"}}
  domain: {{value: 8, unit: chips, source: "fill in", provenance: assumption}}

# The network between domains: per direction and chip.
scale_out:
  bandwidth: {{value: 50, unit: GB/s, source: "fill in", provenance: assumption}}
  latency: {{value: 10, unit: us, source: "class prior", provenance: assumption, note: "RDMA"}}

chips_per_node: {{value: 8, unit: chips, source: "fill in", provenance: assumption}}

# The link to the host (`host_link`: bandwidth and latency, as above), what real kernels reach of these peaks
# (`efficiency`) and the time that passes whatever the batch (`overhead`) come from the priors of its kind, until you
# say more or measure: `inferencesim calibrate`, or single numbers here, such as
#   efficiency:
#     memory: {{value: 0.8, unit: fraction, source: "streaming 16 GB of weights", provenance: measured}}

# Per chip, its share of the host included. A cloud's price includes power; owned hardware pays
# electricity besides.
price:
  per_chip: {{value: 2.0, unit: USD/h, source: "fill in", provenance: assumption}}
  includes_power: true

# Of the capacity, what weights and KV cache may use.
usable_memory: {{value: 0.9, unit: fraction, source: "class prior", provenance: assumption}}

notes: ""
"""


def hardware_template(name: str) -> str:
    """Return a commented hardware profile for a user to fill in.

    Parameters
    ----------
    name : str
        What the chip is called; its id is made of that.

    Returns
    -------
    str
        YAML that :func:`inferencesim.hardware.catalog.load_profile` reads as it stands.

    Raises
    ------
    InputError
        If `name` has no letter or digit to make an id of.
    """
    words = re.findall(r"[a-z0-9]+", name.lower())
    if not words:
        where, what = "name", f"no id can be made of {name!r}"
        raise InputError(where, what, "Use letters or digits, as in 'my-chip'.")
    # Quoted as JSON, which YAML reads, so that no character of the name can break the document.
    return _TEMPLATE.format(
        name=" ".join(name.split()),
        identifier="-".join(words),
        quoted=json.dumps(name.strip(), ensure_ascii=True),
    )
