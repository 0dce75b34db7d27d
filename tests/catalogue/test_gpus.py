"""The catalogue of GPUs: every number has a source and agrees with the others; names, a user's own rows, prices."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from perftune.catalogue.gpus import BUILT_IN, find_gpus, gpu_of, load_catalogue, load_prices
from perftune.errors import DeviceError
from perftune.records.device import Device
from perftune.records.gpu import DTYPES, Gpu
from perftune.units import GIB

CATALOGUE = load_catalogue()
NAMES = sorted(CATALOGUE)
EXPECTED = {
    "t4-16gb", "v100-16gb-sxm", "v100-32gb-sxm", "rtx3090-24gb", "rtx4090-24gb", "rtx5090-32gb", "a10g-24gb",
    "l4-24gb", "l40s-48gb", "a6000-48gb", "a100-40gb-sxm", "a100-80gb-sxm", "a100-80gb-pcie", "h100-80gb-pcie",
    "h100-80gb-sxm", "h200-141gb-sxm", "b200-180gb-sxm", "mi300x-192gb",
}  # fmt: skip
HALF_RATE = {"rtx3090-24gb", "rtx4090-24gb", "rtx5090-32gb", "a10g-24gb"}
"""Those whose tensor cores sum in fp32 at half the rate of fp16."""
TENSOR_FLOP_PER_CLOCK = {(7, 0): 1024, (7, 5): 1024, (8, 0): 2048, (8, 6): 1024, (8, 9): 1024, (9, 0): 4096,
                         (10, 0): 8192, (12, 0): 1024, None: 2048}  # fmt: skip
"""Of one SM in fp16, dense: NVIDIA's architecture whitepapers; the last is a compute unit of CDNA 3."""
FP32_FLOP_PER_CLOCK = {(7, 0): 128, (7, 5): 128, (8, 0): 128}
"""Of one SM's ordinary cores, two for each core; 256 for all later ones."""
LINKS = {
    "PCIe 3.0 x16": 8e9 * 16 * 128 / 130 / 8,
    "PCIe 4.0 x16": 16e9 * 16 * 128 / 130 / 8,
    "PCIe 5.0 x16": 32e9 * 16 * 128 / 130 / 8,
    "NVLink 2": 6 * 25e9,
    "NVLink 3": 12 * 25e9,
    "NVLink 4": 18 * 25e9,
    "NVLink 5": 18 * 50e9,
    "Infinity Fabric": 7 * 64e9,
}
ROW = {
    "title": "My GPU",
    "architecture": "pascal",
    "num_sms": 56,
    "memory_bytes": "15.9GiB",
    "memory_bandwidth_bytes_per_second": "7.2e11",
    "peak_flops": {"fp32": 9.3e12},
}


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def test_every_gpu_is_there_once() -> None:
    assert CATALOGUE.keys() == EXPECTED
    rows = re.findall(r"^  ([\w.-]+):$", BUILT_IN.read_text(encoding="utf-8").partition("\ngpus:\n")[2], re.MULTILINE)
    assert sorted(rows) == NAMES
    titles = [gpu.title for gpu in CATALOGUE.values()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_source_that_can_be_looked_up(name: str) -> None:
    gpu = CATALOGUE[name]
    assert len(gpu.numbers()) >= 5 + len(gpu.peak_flops)
    for number in gpu.numbers():
        assert re.search(r"https://\S+\.\S+", gpu.source(number) or ""), number


def test_every_source_is_used() -> None:
    listed = set(yaml.safe_load(BUILT_IN.read_text(encoding="utf-8"))["sources"].values())
    assert listed == {source for gpu in CATALOGUE.values() for source in gpu.sources.values()}


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_a_little_less_than_the_name_says(name: str) -> None:
    nominal = int(re.search(r"-(\d+)gb", name)[1])
    # Nominal GB are GiB on most cards, and 10**9 bytes on those whose HBM is sold so.
    assert 0.9 * nominal * GIB < CATALOGUE[name].memory_bytes <= nominal * GIB


@pytest.mark.parametrize("name", NAMES)
def test_peaks_are_what_the_cores_do_at_a_clock_that_exists(name: str) -> None:
    """Twice the rate (with sparsity, or with sums in fp16) would take a clock that no GPU has, and half of it none."""
    gpu = CATALOGUE[name]
    tensor = TENSOR_FLOP_PER_CLOCK[gpu.compute_capability] / (2 if name in HALF_RATE else 1)
    assert 1.3e9 < gpu.peak_flops["fp16"] / (gpu.num_sms * tensor) < 2.6e9
    ordinary = FP32_FLOP_PER_CLOCK.get(gpu.compute_capability, 256)
    assert 1.3e9 < gpu.peak_flops["fp32"] / (gpu.num_sms * ordinary) < 2.6e9


@pytest.mark.parametrize("name", NAMES)
def test_number_formats_keep_their_ratios(name: str) -> None:
    gpu = CATALOGUE[name]
    fp16 = gpu.peak("fp16")
    old = gpu.architecture in {"turing", "volta"}
    assert gpu.peak("bf16") == (None if old else fp16)
    assert (gpu.peak("tf32") is None) == old
    assert old or gpu.peak("tf32") == pytest.approx(fp16 / 2, rel=0.02)
    has_fp8 = gpu.architecture in {"ada", "hopper", "blackwell", "cdna3"}
    assert (gpu.peak("fp8") is not None) == has_fp8
    assert not has_fp8 or gpu.peak("fp8") == pytest.approx(2 * fp16, rel=0.02)
    whole_rate = 2 * fp16 if name in HALF_RATE else fp16
    assert (gpu.peak("int8") is None) == (gpu.architecture == "volta" or name == "a10g-24gb")
    assert gpu.peak("int8") in (None, pytest.approx(2 * whole_rate, rel=0.02))


@pytest.mark.parametrize("name", NAMES)
def test_memory_and_link_have_the_right_order_of_magnitude(name: str) -> None:
    gpu = CATALOGUE[name]
    assert 60 < gpu.peak_flops["fp16"] / gpu.memory_bandwidth_bytes_per_second < 450
    assert gpu.link.bytes_per_second == pytest.approx(LINKS[gpu.link.name], rel=0.001)
    assert gpu.link.bytes_per_second < gpu.memory_bandwidth_bytes_per_second / 4
    assert ("-sxm" in name) == gpu.link.name.startswith("NVLink")
    assert (gpu.compute_capability is None) == gpu.title.startswith("AMD")
    assert 0.02e12 < gpu.peak_flops["fp32"] / gpu.tdp_watts < 0.45e12


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["t4"], ["t4-16gb"]),
        (["H200"], ["h200-141gb-sxm"]),
        (["l4"], ["l4-24gb"]),
        (["l40"], ["l40s-48gb"]),
        (["h100-sxm"], ["h100-80gb-sxm"]),
        (["a100-40gb"], ["a100-40gb-sxm"]),
        (["mi300x-192gb", "t4", "mi300"], ["mi300x-192gb", "t4-16gb"]),
        (["t4", "all"], ["t4-16gb", *(name for name in CATALOGUE if name != "t4-16gb")]),
        ([], []),
    ],
)
def test_short_names(names: list[str], found: list[str]) -> None:
    assert [gpu.name for gpu in find_gpus(names, CATALOGUE)] == found


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a100", "a100 could be a100-40gb-sxm, a100-80gb-sxm or a100-80gb-pcie"),
        ("a100-80gb", "could be a100-80gb-sxm or a100-80gb-pcie"),
        ("rtx", "could be rtx3090-24gb, rtx4090-24gb or rtx5090-32gb"),
        ("h10-80gb-sxm", "no GPU 'h10-80gb-sxm'.* nearest: h100-80gb-sxm"),
        ("quantum", r"no GPU 'quantum' in the catalogue\. `perftune gpus`"),
        ("", "no GPU ''"),
    ],
)
def test_names_that_are_not_clear(name: str, said: str) -> None:
    with pytest.raises(DeviceError, match=said) as caught:
        find_gpus(["t4", name], CATALOGUE)
    assert "`perftune gpus` lists" in str(caught.value)


def test_a_row_of_ones_own(tmp_path: Path) -> None:
    mine = {"sources": {"bench": "my own measurement"}, "gpus": {"p100-16gb": {**ROW, "sources": {"num_sms": "bench"}}}}
    path = written(tmp_path / "mine.yaml", mine)
    catalogue = load_catalogue(path)
    assert catalogue.keys() - CATALOGUE.keys() == {"p100-16gb"}
    (gpu,) = find_gpus(["p100"], catalogue)
    assert gpu.memory_bytes == int(15.9 * GIB)
    assert gpu.memory_bandwidth_bytes_per_second == 7.2e11
    assert (gpu.link, gpu.tdp_watts, gpu.peak("bf16")) == (None, None, None)
    assert gpu.source("num_sms") == "my own measurement"
    assert gpu.source("peak_flops.fp32") == gpu.source("memory_bytes") == str(path)


def test_a_row_of_ones_own_replaces_that_of_the_same_name(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.yaml", {"gpus": {"t4-16gb": {**ROW, "sources": {"num_sms": "t4"}}}})
    catalogue = load_catalogue(path)
    assert list(catalogue) == list(CATALOGUE)
    assert catalogue["t4-16gb"].title == "My GPU"
    assert catalogue["t4-16gb"].source("num_sms") == CATALOGUE["t4-16gb"].source("tdp_watts")
    assert load_catalogue()["t4-16gb"] == CATALOGUE["t4-16gb"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_sms": -1}, r"GPU p100, num_sms: input should be greater than 0, not -1\."),
        ({"num_sms": None}, "GPU p100, num_sms: .*integer"),
        ({"memory_bytes": "much"}, "GPU p100, memory_bytes: 'much' is not a size"),
        ({"memory_bytes": [1]}, "GPU p100, memory_bytes: "),
        ({"memory_bandwidth_bytes_per_second": float("nan")}, "GPU p100, memory_bandwidth_bytes_per_second: "),
        ({"peak_flops": {}}, "GPU p100, peak_flops: should have some of fp32, tf32, fp16, bf16, fp8, int8"),
        ({"peak_flops": {"bfloat16": 1e12}}, "GPU p100, peak_flops: .*not bfloat16"),
        ({"peak_flops": {"fp32": "fast"}}, "GPU p100, peak_flops.fp32: .*not 'fast'"),
        ({"link": {"name": "PCIe"}}, "GPU p100, link.bytes_per_second: field required"),
        ({"bandwidth": 3}, "GPU p100, bandwidth: extra inputs"),
        ({"sources": {"bandwidth": "x"}}, "GPU p100: sources has bandwidth"),
        ({"sources": {"tdp_watts": "x"}}, "GPU p100: sources has tdp_watts"),
        ({"sources": {"num_sms": [1]}}, "GPU p100, sources.num_sms: "),
        ({"sources": "x"}, "GPU p100, sources: "),
    ],
)
def test_a_bad_row_names_file_row_and_key(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = written(tmp_path / "mine.yaml", {"gpus": {"p100": {**ROW, **change}}})
    with pytest.raises(DeviceError, match=said) as caught:
        load_catalogue(path)
    assert str(caught.value).startswith(f"{path}: GPU p100")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "should have `gpus:`"),
        ("- a", "should have `gpus:`"),
        ("gpus: [", "is no YAML"),
        ("gpus: 3", "gpus should be a list"),
        ("gpu: {}", "gpu should be gpus or sources"),
        ("gpus: {p100: }", "GPU p100 should be a list"),
        ("gpus: {P100: {}}", "GPU P100, name: should be lower case"),
        ("gpus: {all: {}}", "GPU all, name: "),
    ],
)
def test_a_bad_file(tmp_path: Path, content: str, said: str) -> None:
    path = written(tmp_path / "mine.yaml", content)
    with pytest.raises(DeviceError, match=said) as caught:
        load_catalogue(path)
    assert str(path) in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(DeviceError, match="cannot be read"):
            load_catalogue(path)
        with pytest.raises(DeviceError, match="cannot be read"):
            load_prices(path, CATALOGUE)


def test_a_number_without_a_source_is_no_gpu() -> None:
    row = CATALOGUE["h100-80gb-sxm"].model_dump()
    assert Gpu.model_validate(row) == CATALOGUE["h100-80gb-sxm"]
    for number in row["sources"]:
        sources = {key: text for key, text in row["sources"].items() if key != number}
        with pytest.raises(ValidationError, match=f"sources should say where {number}"):
            Gpu.model_validate({**row, "sources": sources})


def test_a_peak_may_have_a_source_of_its_own() -> None:
    row = CATALOGUE["h100-80gb-sxm"].model_dump()
    gpu = Gpu.model_validate({**row, "sources": {**row["sources"], "peak_flops.fp8": "elsewhere"}})
    assert [gpu.source(f"peak_flops.{dtype}") == "elsewhere" for dtype in DTYPES] == [
        dtype == "fp8" for dtype in DTYPES
    ]


def test_prices(tmp_path: Path) -> None:
    path = written(tmp_path / "prices.yaml", "t4: 1\nh100-80gb-sxm: 2.5\n")
    assert load_prices(path, CATALOGUE) == {"t4-16gb": 1.0, "h100-80gb-sxm": 2.5}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "should be a list of `name: price per hour`"),
        ("- 3", "should be a list"),
        ("t4: [", "is no YAML"),
        ("t4: 0", "the price of t4 should be a positive number per hour, not 0"),
        ("t4: -1.5", "price of t4"),
        ("t4: .nan", "price of t4"),
        ("t4: .inf", "price of t4"),
        ("t4: true", "price of t4"),
        ("t4: $1", "price of t4 .*not '\\$1'"),
        ("t4:", "price of t4 .*not None"),
        ("t5: 1", "There is no GPU 't5'"),
        ("4090: 1", "There is no GPU '4090'.*rtx4090-24gb"),
        ("a100: 1", "a100 could be"),
        ("all: 1", "There is no GPU 'all'"),
        ("t4: 1\nt4-16gb: 2", "t4-16gb is t4-16gb, which has a price already"),
    ],
)
def test_bad_prices(tmp_path: Path, content: str, said: str) -> None:
    path = written(tmp_path / "prices.yaml", content)
    with pytest.raises(DeviceError, match=said) as caught:
        load_prices(path, CATALOGUE)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("told", "memory_gib", "capability", "name"),
    [
        ("Tesla T4", 14.6, (7, 5), "t4-16gb"),
        ("NVIDIA A100-SXM4-40GB", 39.4, (8, 0), "a100-40gb-sxm"),
        ("NVIDIA A100 80GB PCIe", 79.2, (8, 0), "a100-80gb-pcie"),
        ("NVIDIA H100 80GB HBM3", 79.1, (9, 0), "h100-80gb-sxm"),
        ("NVIDIA H100 PCIe", 79.1, (9, 0), "h100-80gb-pcie"),
        ("NVIDIA GeForce RTX 4090", 23.6, (8, 9), "rtx4090-24gb"),
        ("NVIDIA L4", 22.0, (8, 9), "l4-24gb"),
        ("NVIDIA L40S", 44.5, (8, 9), "l40s-48gb"),
        ("NVIDIA H100 NVL", 93.1, (9, 0), None),
        ("NVIDIA GeForce GTX 1650", 3.9, (7, 5), None),
    ],
)
def test_the_gpu_that_is_here_is_found_by_what_its_driver_tells(
    told: str, memory_gib: float, capability: tuple[int, int], name: str | None
) -> None:
    device = Device(kind="cuda", name=told, memory_bytes=int(memory_gib * GIB), compute_capability=capability)
    found = gpu_of(device, CATALOGUE)
    assert (found.name if found else None) == name
