"""A probe becomes a plan: real traces of a tiny workload, every candidate on GPUs of the catalogue."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from perftune.catalogue import find_gpus, load_catalogue
from perftune.errors import ProbeFileError, WorkloadError
from perftune.isolation.runner import ForkServerRunner
from perftune.planning import plan
from perftune.planning.trace_cache import TraceCache
from perftune.planning.traces import tracing_runner
from perftune.planning.variants import variant_key
from perftune.records.candidate import CHECKPOINTING, MICRO_BATCH, OPTIMIZER, PRECISION, Candidate
from perftune.records.device import Device
from perftune.records.estimate import Estimate, Plan
from perftune.records.gpu import Gpu
from perftune.records.probe import ProbeSpec
from perftune.records.survey import Survey, SurveyRequest
from perftune.records.trace import Trace, TraceRequest
from perftune.spec import load_probe

pytestmark = pytest.mark.long

TINY = Path(__file__).parents[1] / "workloads" / "tiny.py"
PROBE = """
config:
  model_type: llama
  vocab_size: 512
  hidden_size: 64
  intermediate_size: 128
  num_hidden_layers: 2
  num_attention_heads: 4
  num_key_value_heads: 2
task: causal-lm
data: {synthetic: {num_samples: 64, distribution: lognormal, mean_length: 40, max_length: 96}}
global_batch_size: 16
training_arguments: {learning_rate: 1.0e-3}
knobs: {attn_implementation: [sdpa], optim: [adamw_torch, adamw_torch_fused, paged_adamw_8bit]}
"""


def gpus(*names: str) -> list[Gpu]:
    return find_gpus(names, load_catalogue())


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> ProbeSpec:
    path = tmp_path_factory.mktemp("probe") / "model.yaml"
    path.write_text(PROBE)
    return load_probe(path)


class Counting:
    """A real runner that keeps what it is asked; one server for all tests."""

    def __init__(self, runner: ForkServerRunner) -> None:
        self._runner = runner
        self.asked: list[TraceRequest] = []

    def survey(self, request: SurveyRequest) -> Survey:
        return self._runner.survey(request)

    def trace(self, request: TraceRequest, number: int) -> Trace:
        self.asked.append(request)
        return self._runner.trace(request, number)

    def __call__(self, folder: Path) -> AbstractContextManager["Counting"]:
        self.asked.clear()
        return nullcontext(self)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counting]:
    with tracing_runner(tmp_path_factory.mktemp("traces")) as running:
        yield Counting(running)


@pytest.fixture(scope="module")
def planned(probe: ProbeSpec, runner: Counting) -> tuple[Plan, list[TraceRequest]]:
    prices = {"t4-16gb": 0.5, "h100-80gb-sxm": 3.0}
    found = plan(probe, gpus("h100-sxm", "t4"), prices=prices, max_batch=True, runner=runner)
    return found, list(runner.asked)


@pytest.fixture(scope="module")
def made(planned: tuple[Plan, list[TraceRequest]]) -> Plan:
    return planned[0]


def of(made: Plan, gpu: str, **settings: object) -> Estimate:
    found = [
        e
        for e in made.estimates
        if e.gpu == gpu and all(e.candidate.settings[name] == value for name, value in settings.items())
    ]
    assert len(found) == 1
    return found[0]


BASE = {MICRO_BATCH: 8, PRECISION: "fp32", CHECKPOINTING: False, OPTIMIZER: "adamw_torch"}


def test_every_candidate_has_an_estimate_on_every_gpu(made: Plan) -> None:
    assert len({(e.gpu, e.candidate.key) for e in made.estimates}) == len(made.estimates)
    on = {gpu: [e for e in made.estimates if e.gpu == gpu] for gpu in ("h100-80gb-sxm", "t4-16gb")}
    assert len(on["h100-80gb-sxm"]) == 5 * 4 * 2 * 3
    assert len(on["t4-16gb"]) == 5 * 2 * 2 * 3
    assert {e.candidate.settings[PRECISION] for e in on["t4-16gb"]} == {"fp32", "fp16"}
    assert made.base in [e.candidate for e in made.estimates]


def test_few_traces_give_them_all(planned: tuple[Plan, list[TraceRequest]]) -> None:
    asked = planned[1]
    assert len(asked) == 2 * 2 * 2
    assert {request.micro_batches for request in asked} == {(1, 2, 4)}
    assert [bool(request.optimizers) for request in asked] == [True] + [False] * 7


def test_parts_add_up_to_what_is_allocated(made: Plan) -> None:
    for estimate in made.estimates:
        memory = estimate.memory
        beside = {"fragmentation", "context"}
        assert sum(size for name, size in memory.parts.items() if name not in beside) == memory.allocated_bytes
        assert memory.reserved_bytes == memory.allocated_bytes + memory.parts["fragmentation"]
        assert memory.device_bytes == memory.reserved_bytes + memory.parts["context"]


def test_levers_act_as_they_do(made: Plan) -> None:
    base = of(made, "h100-80gb-sxm", **{**BASE, MICRO_BATCH: 16})
    saving = of(made, "h100-80gb-sxm", **{**BASE, MICRO_BATCH: 16, CHECKPOINTING: True})
    half = of(made, "h100-80gb-sxm", **{**BASE, MICRO_BATCH: 16, PRECISION: "bf16"})
    paged = of(made, "h100-80gb-sxm", **{**BASE, MICRO_BATCH: 16, OPTIMIZER: "paged_adamw_8bit"})
    small = of(made, "h100-80gb-sxm", **{**BASE, MICRO_BATCH: 2})
    assert saving.memory.parts["activations"] < base.memory.parts["activations"]
    assert half.memory.allocated_bytes < base.memory.allocated_bytes
    assert paged.memory.parts["optimizer_state"] < base.memory.parts["optimizer_state"]
    assert small.memory.allocated_bytes < base.memory.allocated_bytes
    assert base.time is not None
    assert saving.time is not None
    assert small.time is not None
    assert saving.time.step_seconds > base.time.step_seconds
    assert small.time.step_seconds > base.time.step_seconds
    assert base.time.tokens_per_second == pytest.approx(base.time.samples_per_second * made.mean_num_tokens)


def test_cost_is_price_over_speed(made: Plan) -> None:
    estimate = of(made, "t4-16gb", **BASE)
    assert estimate.time is not None
    assert estimate.cost_per_million_samples == pytest.approx(0.5 / 3600 / estimate.time.samples_per_second * 1e6)


def test_the_largest_micro_batch_fits_and_the_next_does_not(made: Plan) -> None:
    arms = {(one.gpu, one.candidate.replace(**{MICRO_BATCH: None}).key) for one in made.largest}
    assert len(arms) == len(made.largest) == 4 * 2 * 3 + 2 * 2 * 3
    for one in made.largest:
        (gpu,) = gpus(one.gpu)
        assert one.micro_batch is not None
        assert one.memory.device_bytes is not None
        usable = gpu.memory_bytes * (1 - made.headroom)
        assert one.memory.device_bytes <= usable
        assert one.memory.device_bytes * (one.micro_batch + 1) / one.micro_batch > 0.9 * usable


def test_several_gpus_hold_shards(probe: ProbeSpec, runner: Counting) -> None:
    one_variant = {PRECISION: ("fp32",), CHECKPOINTING: (False,), OPTIMIZER: ("adamw_torch",), MICRO_BATCH: (4,)}
    probe = probe.model_copy(update={"knobs": one_variant})
    alone, shared, sharded = (
        plan(probe, gpus("a100-80gb-sxm"), num_devices=number, sharding=name, runner=runner)
        for number, name in ((1, None), (4, "ddp"), (4, "zero3"))
    )
    settings = {**BASE, MICRO_BATCH: 4}
    one, ddp, zero = (of(made, "a100-80gb-sxm", **settings).memory.parts for made in (alone, shared, sharded))
    assert ddp["optimizer_state"] == one["optimizer_state"]
    assert zero["optimizer_state"] == pytest.approx(one["optimizer_state"] / 4, rel=0.25)
    time = of(shared, "a100-80gb-sxm", **settings).time
    assert time is not None
    assert time.communication_seconds > 0


def test_flash_attention_is_a_matter_of_the_gpu() -> None:
    new, old = (
        Device(kind="cuda", name=gpu.title, memory_bytes=gpu.memory_bytes, compute_capability=gpu.compute_capability)
        for gpu in gpus("h100-sxm", "t4")
    )
    candidate = Candidate(settings={**BASE, PRECISION: "fp16", "attn_implementation": "sdpa"})
    assert variant_key(candidate, new) != variant_key(candidate, old)
    eager = candidate.replace(attn_implementation="eager")
    assert variant_key(eager, new) == variant_key(eager, old)


def test_a_plan_that_was_made_before_traces_nothing(probe: ProbeSpec, runner: Counting, tmp_path: Path) -> None:
    one_variant = {PRECISION: ("fp32",), CHECKPOINTING: (False,), OPTIMIZER: ("adamw_torch",)}
    probe = probe.model_copy(update={"knobs": one_variant})
    first = plan(probe, gpus("t4"), runner=runner, cache=TraceCache(tmp_path))
    assert len(runner.asked) == 1
    again = plan(probe, gpus("t4"), runner=runner, cache=TraceCache(tmp_path))
    assert runner.asked == []
    assert again.estimates == first.estimates


def test_a_loss_that_grows_with_accumulation_holds_the_micro_batch(tmp_path: Path, runner: Counting) -> None:
    path = tmp_path / "model.yaml"
    knobs = "precision: [fp32], activation_checkpointing: [false], optim: [adamw_torch]"
    path.write_text(
        f"build: {TINY}:own_loss\nglobal_batch_size: 16\n"
        f"training_arguments: {{per_device_train_batch_size: 4}}\nknobs: {{{knobs}}}\n"
    )
    made = plan(load_probe(path), gpus("h100-sxm"), runner=runner)
    assert {estimate.candidate.micro_batch for estimate in made.estimates} == {4}
    assert any("the micro-batch stays at 4" in note for note in made.notes)
    path.write_text(path.read_text().replace(knobs, f"{knobs}, per_device_train_batch_size: [8]"))
    with pytest.raises(ProbeFileError, match="averaged over the micro-batch"):
        plan(load_probe(path), gpus("h100-sxm"), runner=runner)


def test_a_loss_that_reads_values_is_told_with_its_line(tmp_path: Path, runner: Counting) -> None:
    workload = tmp_path / "train.py"
    workload.write_text(
        "import torch\n"
        "from transformers import LlamaConfig, LlamaForCausalLM, Trainer\n"
        "class Reads(Trainer):\n"
        "    def compute_loss(self, model, inputs, **kwargs):\n"
        "        loss = model(**inputs).loss\n"
        "        return loss if loss.item() < 100 else loss / 2\n"
        "def build(args):\n"
        "    config = LlamaConfig(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,\n"
        "                         num_key_value_heads=2, vocab_size=64)\n"
        "    data = [{'input_ids': torch.ones(8).long(), 'labels': torch.ones(8).long()}] * 16\n"
        "    return Reads(model=LlamaForCausalLM(config), args=args, train_dataset=data)\n"
    )
    path = tmp_path / "model.yaml"
    knobs = "knobs: {precision: [fp32], activation_checkpointing: [false], optim: [adamw_torch]}\n"
    path.write_text("build: train.py:build\nglobal_batch_size: 4\n" + knobs)
    with pytest.raises(WorkloadError, match=r"train\.py, line 6: reads the value.*perftune probe"):
        plan(load_probe(path), gpus("t4"), runner=runner)
