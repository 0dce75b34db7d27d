"""The document of a plan: ranked, with yours, the parts of the peak, cost, and what is not known said so."""

from collections.abc import Sequence

import pytest
from rich.console import Console

from perftune.catalogue import find_gpus, load_catalogue
from perftune.records.candidate import MICRO_BATCH, PRECISION, Candidate
from perftune.records.estimate import Estimate, LargestBatch, MemoryEstimate, MemoryHolder, Plan, TimeEstimate
from perftune.reports import plan_document, terminal
from perftune.reports.plan_tables import fastest
from perftune.units import GIB

YOURS = Candidate(settings={MICRO_BATCH: 8, PRECISION: "fp32"})


def memory(allocated: float, *, fits: bool = True) -> MemoryEstimate:
    num_bytes = int(allocated * GIB)
    return MemoryEstimate(
        allocated_bytes=num_bytes,
        reserved_bytes=num_bytes + GIB if fits else None,
        device_bytes=num_bytes + 2 * GIB if fits else None,
        parts={"parameters": num_bytes // 4, "activations": num_bytes - num_bytes // 4, "gradients": 0, "context": GIB},
        holders=(MemoryHolder(module="lm_head\x1b[31m", operator="aten::mm", num_bytes=GIB),),
        error_band=0.1,
    )


def estimate(gpu: str, candidate: Candidate, rate: float, allocated: float, *, fits: bool = True) -> Estimate:
    return Estimate(
        gpu=gpu,
        candidate=candidate,
        fits=fits,
        memory=memory(allocated, fits=fits),
        time=TimeEstimate(
            step_seconds=32 / rate,
            forward_seconds=0.1,
            backward_seconds=0.2,
            optimizer_seconds=0.1,
            samples_per_second=rate,
            tokens_per_second=None,
            mfu=0.4,
            is_host_bound=rate > 100,
            error_band=0.3,
        ),
        cost_per_million_samples=1e6 / rate,
    )


def a_plan(names: Sequence[str], estimates: Sequence[Estimate], largest: Sequence[LargestBatch] = ()) -> Plan:
    return Plan(
        name="mine",
        gpus=tuple(find_gpus(names, load_catalogue())),
        num_devices=1,
        sharding="none",
        global_batch_size=32,
        headroom=0.1,
        base=YOURS,
        model_class="LlamaForCausalLM",
        num_parameters=1000,
        num_trainable_parameters=10,
        num_tokens=512,
        mean_num_tokens=100.0,
        estimates=tuple(estimates),
        largest=tuple(largest),
        notes=("a note",),
        trace_seconds=1.0,
    )


def shown(plan: Plan) -> str:
    console = Console(width=140, no_color=True, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(terminal.render(plan_document(plan, num_rows=2)))
    return captured.get()


HALF, LARGE = YOURS.replace(precision="bf16"), YOURS.replace(**{MICRO_BATCH: 32})
H100 = "h100-80gb-sxm"


@pytest.fixture
def estimates() -> list[Estimate]:
    return [
        estimate(H100, YOURS, 50, 8),
        estimate(H100, HALF, 120, 6),
        estimate(H100, LARGE, 500, 90, fits=False),
        estimate(H100, LARGE.replace(precision="bf16"), 90, 20),
    ]


def test_what_does_not_fit_is_never_ranked(estimates: list[Estimate]) -> None:
    assert [e.time.samples_per_second for e in fastest(estimates) if e.time] == [120, 90, 50]


def test_one_gpu_shows_the_fastest_and_yours(estimates: list[Estimate]) -> None:
    text = shown(a_plan(["h100-sxm"], estimates))
    rows = [line for line in text.splitlines() if " × " in line and "GiB" in line]
    assert [row.split("  ")[0] for row in rows] == ["8 × 4", "32 × 1", "8 × 4 (yours)"]
    assert "120 *" in rows[0]
    assert "3 of 4 candidates fit" in text
    assert "Nothing was measured" in text
    assert "10 of them trained" in text
    assert "within 10%" in text
    assert "within 30%" in text
    assert "a note" in text


def test_the_parts_of_the_peak_are_named_and_empty_ones_left_out(estimates: list[Estimate]) -> None:
    text = shown(a_plan(["h100-sxm"], estimates))
    assert "6.00 GiB allocated, 7.00 GiB reserved, 8.00 GiB in nvidia-smi" in text
    assert "activations" in text
    assert "gradients" not in text
    assert "largest holder: aten::mm in lm_head" in text
    assert "\x1b" not in text


def test_yours_that_does_not_fit_is_said_to(estimates: list[Estimate]) -> None:
    text = shown(a_plan(["h100-sxm"], [estimate(H100, YOURS, 50, 90, fits=False)]))
    assert "0 of 1 candidates fit" in text
    assert "Yours, which does not fit" in text
    assert "out of memory" in text


def test_several_gpus_are_ranked_with_their_cost(estimates: list[Estimate]) -> None:
    others = [estimate("t4-16gb", YOURS, 4, 8), estimate("l4-24gb", YOURS, 9, 30, fits=False)]
    text = shown(a_plan(["t4", "h100-sxm", "l4"], [*estimates, *others]))
    lines = [line for line in text.splitlines() if line.startswith(("t4-", "h100-", "l4-"))]
    assert [line.split()[0] for line in lines] == [H100, "t4-16gb", "l4-24gb"]
    assert "nothing fits" in lines[2]
    assert "8,333.33" in lines[0]
    assert f"cheapest: {H100}" in text


def test_largest_batches_are_listed(estimates: list[Estimate]) -> None:
    largest = [
        LargestBatch(gpu=H100, candidate=HALF.replace(**{MICRO_BATCH: 1234}), micro_batch=1234, memory=memory(60)),
        LargestBatch(gpu=H100, candidate=YOURS, micro_batch=None, memory=memory(90, fits=False)),
    ]
    text = shown(a_plan(["h100-sxm"], estimates, largest))
    assert "1,234" in text
    assert "none" in text


def test_no_column_is_cut_in_a_pipe() -> None:
    settings = {
        "optim": ("adamw_torch_fused", "adamw_torch_8bit"),
        "activation_checkpointing": (True, False),
        "attn_implementation": ("sdpa", "eager"),
    }
    names = ["h100-pcie", "t4", "b200", "a100-80gb-pcie"]
    gpus = find_gpus(names, load_catalogue())
    candidates = [YOURS.replace(**{name: values[n % 2] for name, values in settings.items()}) for n in range(4)]
    wide = a_plan(names, [estimate(g.name, c, 1234.5, 178.25) for g, c in zip(gpus, candidates, strict=True)])
    assert "…" not in shown(wide)
    same = a_plan(names, [estimate(g.name, candidates[0], 9, 8) for g in gpus])
    assert "optim" not in shown(same)


def test_bands_are_said_with_what_nothing_covers(estimates: list[Estimate]) -> None:
    wide = [
        one.model_copy(update={"time": one.time.model_copy(update={"error_band": 0.5, "outside": (reason,)})})
        for one, reason in zip(estimates, ("in TF32 on Hopper", "on Blackwell"), strict=False)
        if one.time
    ]
    text = shown(a_plan(["h100-sxm"], [*estimates, *wide]))
    assert "Speed: within 30% in nine of ten published measurements." in text
    assert "Speed: within 50% in TF32 on Hopper, on Blackwell, which no published measurement covers." in text
    assert text.count("Memory: within 10%") == 1
