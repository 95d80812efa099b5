"""Laws that every shipped profile obeys, and what the unusual machines must come out as."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel

from inferencesim.hardware.catalog import load_profile, profile_names
from inferencesim.hardware.profile import HardwareProfile
from inferencesim.hardware.quantity import Quantity
from inferencesim.package_data import data_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPECTED = {
    "amd-epyc-9965",
    "amd-epyc-venice",
    "amd-mi300x",
    "amd-mi325x",
    "amd-mi350x",
    "amd-mi355x",
    "amd-mi455x-helios",
    "amd-ryzen-ai-max-395",
    "apple-ane-m-series",
    "apple-m1-max",
    "apple-m2-ultra",
    "apple-m3-max",
    "apple-m3-ultra",
    "apple-m4-max",
    "aws-inferentia2",
    "aws-trainium1",
    "aws-trainium2",
    "aws-trainium3",
    "cerebras-cs3",
    "google-tpu-v5e",
    "google-tpu-v5p",
    "google-tpu-v6e",
    "google-tpu-v7x",
    "groq-lpu-v1",
    "intel-arc-pro-b60",
    "intel-crescent-island",
    "intel-gaudi2",
    "intel-gaudi3",
    "intel-xeon-6980p",
    "microsoft-maia-100",
    "microsoft-maia-200",
    "nvidia-a100-80gb-sxm",
    "nvidia-b200-sxm",
    "nvidia-b300-sxm",
    "nvidia-dgx-spark-gb10",
    "nvidia-gb200-nvl72",
    "nvidia-gb300-nvl72",
    "nvidia-gh200",
    "nvidia-grace",
    "nvidia-h100-sxm",
    "nvidia-h200-sxm",
    "nvidia-jetson-agx-orin-64",
    "nvidia-jetson-orin-nano-super",
    "nvidia-jetson-thor-t5000",
    "nvidia-l4",
    "nvidia-l40s",
    "nvidia-rtx-3090",
    "nvidia-rtx-4090",
    "nvidia-rtx-5090",
    "nvidia-rtx-pro-6000-se",
    "nvidia-rubin-nvl72",
    "qualcomm-ai100-ultra",
    "qualcomm-ai200",
    "qualcomm-snapdragon-8-elite",
    "qualcomm-snapdragon-x-elite",
    "sambanova-sn40l",
}


@pytest.fixture(params=profile_names())
def profile(request: pytest.FixtureRequest) -> HardwareProfile:
    return load_profile(request.param, "here")


def quantities(part: BaseModel) -> Iterator[tuple[str, Quantity]]:
    for name, value in part:
        entries = (
            [(f"{name}.{key}", entry) for key, entry in value.items()] if isinstance(value, dict) else [(name, value)]
        )
        for key, entry in entries:
            if isinstance(entry, Quantity):
                yield key, entry
            elif isinstance(entry, BaseModel):
                for inner, quantity in quantities(entry):
                    yield f"{key}.{inner}", quantity


def test_the_catalog_holds_what_the_documentation_promises() -> None:
    assert set(profile_names()) >= EXPECTED


def test_the_file_is_named_after_the_id_and_says_what_the_chip_is(profile: HardwareProfile) -> None:
    text = (data_folder("hardware_profiles") / f"{profile.id}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert f"\nid: {profile.id}\n" in text


def test_every_number_has_a_source_and_an_assumption_is_never_called_anything_else(
    profile: HardwareProfile,
) -> None:
    found = dict(quantities(profile))
    assert len(found) >= 18
    for path, quantity in found.items():
        assert quantity.source.strip(), path
        if "recalled" in quantity.source or quantity.source == "class prior":
            assert quantity.provenance == "assumption", path


def test_numbers_are_positive_and_of_the_right_order(profile: HardwareProfile) -> None:
    assert 0 < profile.power.idle.si < profile.power.peak.si < 1e5
    assert 1e8 < profile.memory.capacity.si < 1e13
    assert 1e10 < profile.memory.bandwidth.si < 1e17
    assert 0 < profile.scale_up.latency.si < 1e-3
    assert 0 < profile.scale_out.latency.si < 1e-3
    assert 1e10 < profile.host_link.bandwidth.si < 1e12
    assert 0 < profile.host_link.latency.si < 1e-3
    assert 0 < profile.overhead.layer.si < 1e-4
    assert 0 < profile.overhead.step.si < 1e-3
    assert profile.scale_up.domain.si >= 1
    assert profile.scale_up.domain.si == int(profile.scale_up.domain.si)
    assert profile.chips_per_node.si == int(profile.chips_per_node.si)
    assert 0 < profile.price.per_chip.si * 3600 < 100


def test_fewer_bits_are_never_slower(profile: HardwareProfile) -> None:
    rates = {precision: rate.si for precision, rate in profile.compute.items()}
    for wide, narrow in (("bf16", "fp8"), ("fp8", "fp4"), ("bf16", "int8"), ("int8", "int4")):
        if wide in rates and narrow in rates:
            assert rates[narrow] >= rates[wide]


def test_a_profile_is_immutable_hashable_and_survives_its_own_dump(profile: HardwareProfile) -> None:
    again = HardwareProfile.model_validate(profile.model_dump(by_alias=True))
    assert again == profile
    assert hash(again) == hash(profile)


def test_formats_that_the_hardware_lacks_are_absent() -> None:
    assert set(load_profile("nvidia-a100-80gb-sxm", "here").compute) == {"bf16", "int8"}
    assert "fp4" not in load_profile("nvidia-h100-sxm", "here").compute
    assert "fp8" not in load_profile("groq-lpu-v1", "here").compute
    assert "fp4" in load_profile("nvidia-b200-sxm", "here").compute
    assert "int8" in load_profile("nvidia-b200-sxm", "here").compute
    assert "int8" not in load_profile("nvidia-b300-sxm", "here").compute


@pytest.mark.parametrize(
    ("name", "published", "unpublished"),
    [
        ("intel-crescent-island", ["memory.capacity"], ["memory.bandwidth", "compute", "power.peak", "price.per_chip"]),
        ("qualcomm-ai200", ["memory.capacity"], ["memory.bandwidth", "compute", "power.peak", "price.per_chip"]),
        ("amd-epyc-venice", ["memory.bandwidth"], ["memory.capacity", "compute", "price.per_chip"]),
        ("nvidia-grace", ["memory.capacity", "memory.bandwidth"], ["compute", "price.per_chip"]),
        ("nvidia-rubin-nvl72", ["memory.bandwidth", "compute"], ["power.peak", "price.per_chip"]),
        ("apple-ane-m-series", ["compute"], ["memory.bandwidth", "power.peak"]),
        ("qualcomm-snapdragon-8-elite", ["memory.bandwidth"], ["compute", "power.peak", "usable_memory"]),
    ],
)
def test_what_a_vendor_did_not_publish_is_marked_an_assumption(
    name: str, published: list[str], unpublished: list[str]
) -> None:
    found = dict(quantities(load_profile(name, "here")))

    def provenances(paths: list[str]) -> set[str]:
        return {quantity.provenance for path, quantity in found.items() if path.startswith(tuple(paths))}

    assert "assumption" not in provenances(published)
    assert provenances(unpublished) == {"assumption"}


def test_measured_matmul_efficiency_orders_the_chips_as_measured() -> None:
    names = ("nvidia-h100-sxm", "nvidia-b200-sxm", "amd-mi300x")
    achieved = {
        name: (chip := load_profile(name, "here")).efficiency.compute.si * chip.compute["bf16"].si for name in names
    }
    assert achieved["nvidia-b200-sxm"] > achieved["nvidia-h100-sxm"] > achieved["amd-mi300x"]
