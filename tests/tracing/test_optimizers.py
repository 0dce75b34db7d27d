"""Optimizers by name: what they keep, what they take for a step, and what lies elsewhere."""

import pytest

from perftune.records.trace import Tape, Trace
from tests.tracing.tracing import IGNORED, alive_after, traced

pytestmark = pytest.mark.filterwarnings(*IGNORED)
NAMES = (
    "adamw_torch",
    "adamw_torch_fused",
    "adafactor",
    "sgd",
    "adamw_bnb_8bit",
    "paged_adamw_8bit",
    "paged_adamw_32bit",
    "adamw_torch_8bit",
    "adamw_torch_4bit",
    "galore_adamw",
)
EMBEDDINGS = 3
"""Of words, positions and types."""
BLOCK, SMALLEST = 256, 4096


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return traced("wide_bert", tmp_path_factory.mktemp("trace"), optimizers=NAMES)


def tape(found: Trace, name: str) -> Tape:
    step = next(optimizer for optimizer in found.optimizers if optimizer.optim == name)
    assert step.tape is not None, step.reason
    return step.tape


def state(found: Trace, name: str, after: str = "step_1_ends") -> float:
    made = tape(found, name)
    return sum(made.sizes[number] for number in alive_after(made.events, made.marks[after]))


def temporary(found: Trace, name: str) -> float:
    """The most that the second step holds beside the state."""
    made = tape(found, name)
    begin = made.marks["step_1"]
    level = highest = 0.0
    for event in made.events[begin : made.marks["step_1_ends"]]:
        level += made.sizes[abs(event) - 1] * (1 if event > 0 else -1)
        highest = max(highest, level)
    return highest


def test_all_are_there_in_order_and_state_is_made_once(found: Trace) -> None:
    assert tuple(optimizer.optim for optimizer in found.optimizers) == NAMES
    for name in NAMES[:-1]:
        assert state(found, name, "step_0_ends") == state(found, name)


@pytest.mark.parametrize("name", ["adamw_torch", "adamw_torch_fused"])
def test_adam_keeps_two_values_a_parameter_and_a_count(found: Trace, name: str) -> None:
    assert state(found, name) == 8 * found.num_parameters + 4 * len(found.parameter_bytes)


def test_the_fused_step_takes_nothing_and_the_others_a_copy_of_all_parameters(found: Trace) -> None:
    assert temporary(found, "adamw_torch_fused") < 0.01 * found.trainable_bytes
    assert 0.95 * found.trainable_bytes <= temporary(found, "adamw_torch") < 2.1 * found.trainable_bytes


def test_adafactor_keeps_rows_and_columns(found: Trace) -> None:
    assert state(found, "adafactor") < 0.05 * found.trainable_bytes
    assert temporary(found, "adafactor") > 0
    assert state(found, "sgd") == 0


def test_eight_bits_are_two_bytes_a_parameter_but_for_embeddings(found: Trace) -> None:
    embeddings = sum(size // 4 for size in found.parameter_bytes[:EMBEDDINGS])
    small = sum(size // 4 for size in found.parameter_bytes[EMBEDDINGS:] if size // 4 < SMALLEST)
    large = sum(size // 4 for size in found.parameter_bytes[EMBEDDINGS:] if size // 4 >= SMALLEST)
    scales = 2 * 4 * large // BLOCK
    maps = 2 * 4 * 256
    expected = 8 * (embeddings + small) + 2 * large + scales
    assert expected <= state(found, "adamw_bnb_8bit") <= expected + 2 * maps


def test_paged_state_lies_outside_the_allocator(found: Trace) -> None:
    by_name = {optimizer.optim: optimizer for optimizer in found.optimizers}
    large = sum(size // 4 for size in found.parameter_bytes if size // 4 >= 100_000)
    assert by_name["paged_adamw_32bit"].paged_bytes == 8 * large
    assert state(found, "paged_adamw_32bit") == 8 * (found.num_parameters - large)
    assert 0 < by_name["paged_adamw_8bit"].paged_bytes < by_name["paged_adamw_32bit"].paged_bytes
    assert state(found, "paged_adamw_8bit") < state(found, "adamw_bnb_8bit")
    assert by_name["adamw_bnb_8bit"].paged_bytes == 0


@pytest.mark.parametrize(("name", "each", "block"), [("adamw_torch_8bit", 1.0, 256), ("adamw_torch_4bit", 0.5, 128)])
def test_torchao_packs_what_comes_in_whole_blocks(found: Trace, name: str, each: float, block: int) -> None:
    counts = [size // 4 for size in found.parameter_bytes]
    packed = [count for count in counts if count >= SMALLEST and not count % block]
    assert packed
    expected = 2 * sum(each * count + 4 * count / block for count in packed) + 8 * (sum(counts) - sum(packed))
    assert state(found, name) == expected


def test_what_cannot_be_traced_has_a_reason(found: Trace) -> None:
    last = found.optimizers[-1]
    assert last.tape is None
    assert last.reason
