"""``perftune gpus`` as a user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from perftune.catalogue import load_catalogue
from perftune.errors import DeviceError
from perftune.records.gpu import Gpu

CATALOGUE = load_catalogue()


def typed(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perftune", "gpus", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "60"},
    )


def test_the_table_has_every_gpu_on_a_line_of_its_own(tmp_path: Path) -> None:
    done = typed(cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["name", "memory", "GiB", "GB/s", "fp32", "tf32", "fp16", "bf16", "link"]
    assert [row[0] for row in rows[1 : len(CATALOGUE) + 1]] == list(CATALOGUE)
    assert ["t4-16gb", "14.6", "320", "8.1", "–", "65.0", "–", "PCIe", "3.0", "x16"] in rows
    assert ["h100-80gb-sxm", "79.1", "3,350", "66.9", "494.7", "989.4", "989.4", "NVLink", "4"] in rows
    assert "dense TFLOP/s" in done.stdout


def test_a_name_gives_every_number_and_its_source(tmp_path: Path) -> None:
    done = typed("t4", "mi300x", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.split("\n\n")
    assert first.startswith("t4-16gb: NVIDIA T4, turing\n")
    assert second.startswith("mi300x-192gb: AMD Instinct MI300X, cdna3\n")
    said = ["capability 7.5 [", "SMs 40 [", "memory 14.56 GiB [", "bandwidth 320 GB/s [", "fp16 dense 65.0 TFLOP/s ["]
    said += ["fp32 dense 8.1 TFLOP/s [", "PCIe 3.0 x16, one way 15.8 GB/s [", "board power 70 W ["]
    flat = " ".join(first.split())
    assert [words for words in said if words not in flat] == []
    assert "bf16" not in first
    assert "capability" not in second
    assert "compute units 304 [1]" in " ".join(second.split())
    for text, name in ((first, "t4-16gb"), (second, "mi300x-192gb")):
        sources = [line.partition("] ")[2] for line in text.splitlines() if line.startswith("  [")]
        assert set(sources) == set(CATALOGUE[name].sources.values())
        assert len(sources) == len(set(sources))


def test_the_number_in_brackets_is_that_of_the_source(tmp_path: Path) -> None:
    lines = typed("b200", cwd=tmp_path).stdout.splitlines()
    (mark,) = (line.split()[-1] for line in lines if line.split()[:2] == ["memory", "178.35"])
    assert f"  {mark} {CATALOGUE['b200-180gb-sxm'].source('memory_bytes')}" in lines


def test_json_is_a_list_that_can_be_read_back(tmp_path: Path) -> None:
    done = typed("h200", "t4", "--json", cwd=tmp_path)
    rows = [Gpu.model_validate(row) for row in json.loads(done.stdout)]
    assert rows == [CATALOGUE["h200-141gb-sxm"], CATALOGUE["t4-16gb"]]
    assert len(json.loads(typed("--json", cwd=tmp_path).stdout)) == len(CATALOGUE)


def test_ones_own_gpus(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "gpus:\n  toy-1gb: {title: Toy, architecture: toy, num_sms: 1, memory_bytes: 1GiB,\n"
        "    memory_bandwidth_bytes_per_second: 2e9, peak_flops: {fp32: 1e+12}}\n"
    )
    listed = typed("--catalogue", "mine.yaml", cwd=tmp_path)
    assert ["toy-1gb", "1.0", "2", "1.0", "–", "–", "–", "–"] in [line.split() for line in listed.stdout.splitlines()]
    assert "[1] mine.yaml" in typed("toy", "--catalogue", "mine.yaml", cwd=tmp_path).stdout


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("gpus: {toy: {num_sms: no}}")
    for arguments, said in (
        (["a100"], "a100 could be a100-40gb-sxm, a100-80gb-sxm or a100-80gb-pcie"),
        (["h10-80gb-sxm"], "The nearest: h100-80gb-sxm"),
        (["--catalogue", "none.yaml"], "none.yaml cannot be read: No such file"),
        (["--catalogue", "bad.yaml"], "bad.yaml: GPU toy, title: field required"),
    ):
        done = typed(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (DeviceError.exit_code, "")
        assert done.stderr.startswith("perftune: ")
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_options_may_stand_between_the_names(tmp_path: Path) -> None:
    done = typed("h200", "--json", "t4", cwd=tmp_path)
    assert [row["name"] for row in json.loads(done.stdout)] == ["h200-141gb-sxm", "t4-16gb"]
