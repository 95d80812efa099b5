"""Profiles are found by id or path, and say exactly what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest
import yaml

from inferencesim.errors import InputError
from inferencesim.hardware.catalog import load_profile, profile_digest, profile_names
from inferencesim.hardware.profile import Kind
from inferencesim.hardware.scaffold import CLASS_PRIOR, FILL_IN, hardware_template
from inferencesim.package_data import data_folder
from inferencesim.report.profiles import quantities

if TYPE_CHECKING:
    from pathlib import Path


def shipped_text(name: str) -> str:
    return (data_folder("hardware_profiles") / f"{name}.yaml").read_text(encoding="utf-8")


def write_changed(folder: Path, path: str, value: object) -> str:
    """Write the H100's profile with the entry at dotted `path` set to `value`, or deleted for None."""
    data = yaml.safe_load(shipped_text("nvidia-h100-sxm"))
    *parents, last = path.split(".")
    entry: Any = data
    for key in parents:
        entry = entry[key]
    if value is None:
        del entry[last]
    else:
        entry[last] = value
    file = folder / "chip.yaml"
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    return str(file)


def test_a_short_name_is_refused_and_the_full_one_named() -> None:
    with pytest.raises(InputError) as caught:
        load_profile("h100", "fleet.pools[2].hardware")
    assert str(caught.value).startswith(
        "fleet.pools[2].hardware: unknown hardware profile 'h100'. Did you mean 'nvidia-h100-sxm'?"
    )


def test_a_path_loads_what_the_id_loads(tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    file.write_text(shipped_text("nvidia-h100-sxm"), encoding="utf-8")
    assert load_profile(file, "here") == load_profile("nvidia-h100-sxm", "here")
    assert load_profile(str(file), "here") == load_profile("nvidia-h100-sxm", "here")


def test_a_missing_file_is_told_where_it_was_named() -> None:
    with pytest.raises(InputError, match=r"^pools\[0\]\.hardware: there is no file 'nowhere\.yaml'"):
        load_profile("nowhere.yaml", "pools[0].hardware")


def test_a_folder_is_no_profile(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        load_profile(tmp_path / "x.yaml", "here")


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (
            "memory.bandwith",
            {"value": 1},
            r"memory\.bandwith: unknown key 'bandwith'\. Did you mean 'bandwidth'\?",
        ),
        (
            "memory.colour",
            "red",
            r"memory\.colour: unknown key 'colour'\. Known: bandwidth, capacity, type",
        ),
        ("prise", 1, r": prise: unknown key 'prise'\. Did you mean 'price'\?"),
        ("compute.fp9", {"value": 1}, r"compute\.fp9: unknown key 'fp9'\. Did you mean 'fp\d'\?"),
        ("compute.bf16", None, r"compute\.bf16 is missing"),
        ("memory.bandwidth", None, r"memory\.bandwidth: this key is missing\. Add it\."),
        ("memory.bandwidth.unit", "GB", r"memory\.bandwidth: 'GB' is not a unit of bandwidth"),
        ("memory.bandwidth.value", "fast", r"memory\.bandwidth\.value: .*\(got 'fast'\)"),
        (
            "memory.bandwidth.provenance",
            "hearsay",
            r"provenance: 'hearsay' is not one of vendor, measured",
        ),
        (
            "memory.bandwidth.sauce",
            "x",
            r"memory\.bandwidth\.sauce: unknown key 'sauce'\. Did you mean 'source'\?",
        ),
        ("memory", 80, r"memory: 80 is not a mapping"),
        ("power.idle.value", 700, r"power: the idle power must be below the peak power"),
        ("usable_memory.value", 1.5, r"usable_memory: 1\.5 fraction is out of range"),
        ("kind", "gpu", r"kind: 'gpu' is not one of hbm_gpu"),
        ("schema", 2, r"schema: 2 is not one of 1"),
        ("id", "My Chip", r": id: .*\(got 'My Chip'\)"),
    ],
)
def test_an_error_names_file_key_and_remedy(tmp_path: Path, path: str, value: object, told: str) -> None:
    file = write_changed(tmp_path, path, value)
    with pytest.raises(InputError, match=told) as caught:
        load_profile(file, "pools[0].hardware")
    assert caught.value.where.startswith(file)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"memory: [1, 2", r"chip\.yaml, line \d+, column \d+: "),
        (b"id: a\nname: b\nid: c\n", r"chip\.yaml, line 3, column 1: the key 'id' is given twice"),
        (b"\xff\xfe\x00\x81\x90", "is not UTF-8 text"),
        (b"id: \x00\n", "not YAML text"),
        (b"- a\n- b\n", "not a mapping"),
        (b"", "not a mapping"),
        (b"a: !!python/object/apply:os.getcwd []\n", r"line 1, column 4"),
        (b"? [a, b]\n: c\n", "line 1"),
    ],
)
def test_what_is_no_yaml_mapping_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "chip.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError, match=told):
        load_profile(file, "pools[0].hardware")


def test_the_digest_changes_with_any_number_and_with_nothing_else(tmp_path: Path) -> None:
    h100 = profile_digest(load_profile("nvidia-h100-sxm", "here"))
    same = tmp_path / "same.yaml"
    same.write_text("# a comment\n" + shipped_text("nvidia-h100-sxm"), encoding="utf-8")
    assert profile_digest(load_profile(same, "here")) == h100
    file = write_changed(tmp_path, "power.idle.value", 81.5)
    assert profile_digest(load_profile(file, "here")) != h100
    assert len({profile_digest(load_profile(name, "here")) for name in profile_names()}) == len(profile_names())


@pytest.mark.parametrize("name", ["acme-x1", "Acme X1: the {fast} #1", 'quote " and \\ back', "ÜberChip 9000"])
def test_the_template_loads_as_it_stands(tmp_path: Path, name: str) -> None:
    file = tmp_path / "chip.yaml"
    file.write_text(hardware_template(name), encoding="utf-8")
    profile = load_profile(file, "here")
    assert profile.name == name
    assert profile.status == "announced"


def test_the_template_asks_for_every_key_that_its_kind_does_not_fill_in(tmp_path: Path) -> None:
    template = yaml.safe_load(hardware_template("acme"))
    h100 = yaml.safe_load(shipped_text("nvidia-h100-sxm"))

    for profile in (template, h100):
        profile.pop("host_link", None)
        profile.pop("efficiency", None)
        profile.pop("overhead", None)

    def keys(data: Any) -> set[str]:
        nested = {f"{key}.{inner}" for key, value in data.items() if isinstance(value, dict) for inner in value}
        return set(data) | {key for key in nested if key.split(".")[0] != "compute" and "note" not in key}

    assert keys(template) == keys(h100)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_template_takes_what_datasheets_leave_out_from_its_kind(tmp_path: Path, kind: str) -> None:
    text = hardware_template("acme").replace("kind: custom_accelerator", f"kind: {kind}")
    file = tmp_path / "chip.yaml"
    file.write_text(text, encoding="utf-8")
    one = load_profile(file, "here")
    assert one.kind == kind
    # A number of its own replaces that of its kind, and no other.
    own = "{value: 0.5, unit: fraction, source: tried, provenance: measured}"
    file.write_text(f"{text}efficiency:\n  link: {own}\n", encoding="utf-8")
    changed = load_profile(file, "here").efficiency
    assert changed.link.si == 0.5
    assert changed.model_dump(exclude={"link"}) == one.efficiency.model_dump(exclude={"link"})


def test_the_template_marks_what_a_datasheet_says_and_what_only_a_class_of_chips_does(tmp_path: Path) -> None:
    file = tmp_path / "chip.yaml"
    file.write_text(hardware_template("acme"), encoding="utf-8")
    sources = {path: quantity.source for path, quantity in quantities(load_profile(file, "here"))}
    assert set(sources.values()) == {FILL_IN, CLASS_PRIOR}
    for path, source in sources.items():
        prior = path.startswith(("host_link", "efficiency", "overhead")) or path.endswith("latency")
        assert source == (CLASS_PRIOR if prior or path in {"power.idle", "power.host", "usable_memory"} else FILL_IN)


def test_a_template_needs_a_name_to_make_an_id_of() -> None:
    with pytest.raises(InputError, match="no id can be made of '!!!'"):
        hardware_template("!!!")
