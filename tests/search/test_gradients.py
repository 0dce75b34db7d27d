"""Gradients that agree, that are larger by a factor, that point elsewhere, and those of which only the size counts."""

import math

import pytest

from perftune.records.gradients import GradientSketch, GroupSketch
from perftune.search.gradients import (
    RANDOM_TOLERANCE,
    SPLIT_TOLERANCE,
    TOLERANCES,
    compare_gradients,
    is_hidden_by_chance,
)


def group(name: str, *projection: float, num_parameters: int = 100) -> GroupSketch:
    return GroupSketch(
        name=name, num_parameters=num_parameters, norm=math.hypot(*projection), projection=tuple(projection)
    )


def sketch(*groups: GroupSketch, **changes: object) -> GradientSketch:
    fields = {"precision": "fp32", "num_micro_batches": 1, "samples_digest": 7, "is_random": False, **changes}
    return GradientSketch.model_validate({"groups": groups, **fields})


ENCODER, HEAD = group("encoder.layer.*", 3.0, 4.0), group("head", 0.0, 12.0)
REFERENCE = sketch(ENCODER, HEAD)
ELSEWHERE = (group("encoder.layer.*", 4.0, -3.0), group("head", 12.0, 0.0))


def scaled(factor: float, *groups: GroupSketch) -> tuple[GroupSketch, ...]:
    return tuple(group(g.name, *(factor * x for x in g.projection)) for g in groups)


def test_the_same_gradient_passes_with_nothing_between() -> None:
    check = compare_gradients(REFERENCE, REFERENCE)
    assert check is not None
    assert check.passed
    assert check.is_exact
    assert check.tolerance == 1e-3
    assert check.message == (
        "the gradient of the first step is that of your own arguments: 0 of its length apart in encoder.layer.*, where "
        "it is most; 0.001 is allowed"
    )
    assert (check.whole.name, check.whole.num_parameters) == ("all", 200)
    assert [(g.name, g.num_parameters) for g in check.groups] == [("encoder.layer.*", 100), ("head", 100)]
    assert all(g.norm_ratio == g.cosine == 1 and g.relative_difference == 0 for g in (*check.groups, check.whole))


def test_each_group_has_its_own_figures() -> None:
    check = compare_gradients(sketch(group("encoder.layer.*", 6.0, 8.0), group("head", 12.0, 0.0)), REFERENCE)
    assert check is not None
    encoder, head = check.groups
    assert (encoder.norm_ratio, encoder.relative_difference, encoder.cosine) == (2, 1, 1)
    assert (head.norm_ratio, head.cosine) == (1, pytest.approx(0, abs=1e-12))
    assert head.relative_difference == pytest.approx(math.sqrt(2))
    assert check.worst == head
    assert check.whole.norm_ratio == pytest.approx(math.sqrt(244) / 13)
    assert check.whole.relative_difference == pytest.approx(math.sqrt(25 + 288) / 13)
    assert check.whole.cosine == pytest.approx((18 + 32) / (math.sqrt(244) * 13))
    assert not check.passed
    assert check.message == (
        "the gradient of the first step is not that of your own arguments in every group: in head it is "
        "1.00 times as large, and 1.4 of its length apart, where 0.001 is allowed"
    )


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize(("part", "passes"), [(0.99, True), (1.01, False)])
def test_a_group_may_differ_by_the_tolerance_of_the_coarser_precision(
    precision: str, part: float, passes: bool
) -> None:
    moved = group("encoder.layer.*", 3.0 + 5.0 * TOLERANCES[precision] * part, 4.0)
    for ours, theirs in [(precision, "fp32"), ("fp32", precision)]:
        check = compare_gradients(sketch(moved, HEAD, precision=ours), sketch(ENCODER, HEAD, precision=theirs))
        assert check is not None
        assert check.tolerance == TOLERANCES[precision]
        assert check.passed is check.groups[0].passed is passes
        assert check.groups[1].passed


@pytest.mark.parametrize(("part", "passes"), [(0.99, True), (1.01, False)])
def test_rounding_in_a_gradient_that_is_zero_counts_against_a_hundredth_of_the_whole(part: float, passes: bool) -> None:
    whole = 13.0
    zero = group("bias", 0.0, 0.0)
    rounding = group("bias", 0.0, part * 1e-3 * 0.01 * whole)
    check = compare_gradients(sketch(ENCODER, HEAD, rounding), sketch(ENCODER, HEAD, zero))
    assert check is not None
    assert check.passed is passes
    assert check.groups[2].relative_difference == pytest.approx(part * 1e-3)
    assert check.groups[2].norm_ratio == math.inf
    assert check.groups[2].cosine == 1


@pytest.mark.parametrize(
    ("factor", "steps", "said"),
    [
        (
            16.0,
            (16, 1),
            "16.0 times that of your own arguments in every group: it grows with the accumulation steps, so",
        ),
        (2.0, (4, 2), "2.0 times that of your own arguments in every group: it grows with"),
        (0.25, (1, 4), "0.25 times that of your own arguments in every group: it grows with the accumulation steps"),
        (0.25, (4, 1), "0.25 times that of your own arguments in every group: it shrinks with the accumulation steps"),
        (4.0, (1, 4), "4.0 times that of your own arguments in every group: it shrinks with the accumulation steps"),
        (4.9, (4, 1), "4.9 times that of your own arguments in every group: it grows with"),
        (3.1, (4, 1), "3.1 times that of your own arguments in every group: it grows with"),
        (0.3, (4, 1), "0.30 times that of your own arguments in every group: it shrinks with"),
        (4.15, (4, 1), "4.2 times that of your own arguments in every group: it grows with"),
    ],
)
def test_one_factor_in_every_group_is_told_with_its_reason(factor: float, steps: tuple[int, int], said: str) -> None:
    ours = sketch(*scaled(factor, ENCODER, HEAD), num_micro_batches=steps[0])
    check = compare_gradients(ours, sketch(ENCODER, HEAD, num_micro_batches=steps[1]))
    assert check is not None
    assert not check.passed
    assert check.whole.norm_ratio == pytest.approx(factor)
    assert check.message.startswith(f"the gradient of the first step is {said}")


@pytest.mark.parametrize(("factor", "steps"), [(3.0, (1, 1)), (3.0, (12, 2)), (5.1, (4, 1)), (2.9, (4, 1))])
def test_a_factor_that_is_not_the_accumulation_s_has_no_reason(factor: float, steps: tuple[int, int]) -> None:
    ours = sketch(*scaled(factor, ENCODER, HEAD), num_micro_batches=steps[0])
    check = compare_gradients(ours, sketch(ENCODER, HEAD, num_micro_batches=steps[1]))
    assert check is not None
    assert check.message.endswith(f"{factor:.1f} times that of your own arguments in every group")


def test_a_factor_in_one_group_is_told_of_that_group() -> None:
    check = compare_gradients(sketch(ENCODER, *scaled(1.1, HEAD)), REFERENCE)
    assert check is not None
    assert [g.passed for g in check.groups] == [True, False]
    assert check.message.endswith("is 1.10 times that of your own arguments in head")


def test_every_group_is_every_one_that_has_a_gradient() -> None:
    none = group("lora_A", 0.0, 0.0)
    check = compare_gradients(sketch(*scaled(2.0, ENCODER, HEAD), none), sketch(ENCODER, HEAD, none))
    assert check is not None
    assert [g.passed for g in check.groups] == [False, False, True]
    assert check.message.endswith("is 2.0 times that of your own arguments in every group")


def test_a_gradient_that_hangs_on_the_split_says_so() -> None:
    whole, split = sketch(*ELSEWHERE), sketch(*ELSEWHERE, num_micro_batches=2)
    checks = [compare_gradients(ours, REFERENCE) for ours in (whole, split)]
    messages = [check.message for check in checks if check is not None]
    assert messages[0].endswith("where 0.001 is allowed")
    assert messages[1].startswith(messages[0] + "; it hangs on how the step is split into micro-batches")


def test_a_group_without_gradient_that_only_one_has_is_no_difference() -> None:
    check = compare_gradients(sketch(*scaled(2.0, ENCODER, HEAD), group("pooler", 0.0, 0.0)), REFERENCE)
    assert check is not None
    assert check.message.endswith("in every group")


@pytest.mark.parametrize(
    ("apart", "factor", "steps", "passes"),
    [
        (0.19, 1.0, 2, True),
        (0.21, 1.0, 2, False),
        (0.19, 1.0, 1, False),
        (0.0, 1.04, 2, True),
        (0.0, 1.06, 2, False),
        (0.0, 0.96, 2, True),
        (0.0, 0.94, 2, False),
    ],
)
def test_micro_batches_that_are_averaged_one_by_one_may_move_it_a_little(
    apart: float, factor: float, steps: int, passes: bool
) -> None:
    (encoder,), (head,) = (
        scaled(factor, group("encoder.layer.*", 3.0 - 4 * apart, 4.0 + 3 * apart)),
        scaled(factor, HEAD),
    )
    check = compare_gradients(sketch(encoder, head, num_micro_batches=steps), REFERENCE)
    assert check is not None
    assert check.passed is check.is_split is passes
    assert check.is_exact
    assert check.tolerance == (SPLIT_TOLERANCE if passes else 1e-3)
    said = "is nearly that of your own arguments" if passes else "of your own arguments in"
    assert said in check.message
    assert ("it hangs on how the step is split" in check.message) is (passes or (apart > 0 and steps == 2))


def test_two_factors_are_not_one() -> None:
    check = compare_gradients(sketch(*scaled(1.3, ENCODER), *scaled(1.1, HEAD)), REFERENCE)
    assert check is not None
    assert check.worst.name == "encoder.layer.*"
    assert " in every group: in encoder.layer.* it is 1.30 times as large, and 0.3 of its length" in check.message


def test_a_group_that_only_one_of_them_trains_does_not_pass() -> None:
    lost = compare_gradients(sketch(ENCODER), REFERENCE)
    gained = compare_gradients(REFERENCE, sketch(HEAD))
    assert lost is not None
    assert gained is not None
    assert [(g.name, g.norm_ratio, g.passed) for g in lost.groups] == [("encoder.layer.*", 1, True), ("head", 0, False)]
    assert [(g.name, g.norm_ratio, g.passed) for g in gained.groups] == [
        ("head", 1, True),
        ("encoder.layer.*", math.inf, False),
    ]
    assert not lost.passed
    assert not gained.passed


def test_a_group_with_fewer_parameters_does_not_pass() -> None:
    fewer = ENCODER.model_copy(update={"num_parameters": 99})
    check = compare_gradients(sketch(fewer, HEAD), REFERENCE)
    assert check is not None
    assert [g.passed for g in check.groups] == [False, True]


def test_no_gradient_at_all_on_either_side_is_the_same() -> None:
    none = sketch(group("head", 0.0, 0.0))
    check = compare_gradients(none, none)
    assert check is not None
    assert check.passed
    assert check.whole.norm_ratio == 1
    against = compare_gradients(REFERENCE, sketch(group("encoder.layer.*", 0.0, 0.0), group("head", 0.0, 0.0)))
    assert against is not None
    assert against.whole.relative_difference == math.inf
    assert not against.passed


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"is_random": True}, "random numbers are drawn in it"),
        ({"samples_digest": 8}, "it was not seen to be of the same samples"),
        ({"samples_digest": None}, "it was not seen to be of the same samples"),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_only_the_size_counts_where_chance_or_samples_differ(
    changes: dict[str, object], why: str, swapped: bool
) -> None:
    pair = [sketch(*ELSEWHERE, **changes), REFERENCE]
    check = compare_gradients(*(reversed(pair) if swapped else pair))
    assert check is not None
    assert check.passed
    assert not check.is_exact
    assert check.tolerance == RANDOM_TOLERANCE
    assert check.message.endswith(f"as large as that of your own arguments; {why}, so no more can be told")


def test_unread_samples_are_not_the_same_samples() -> None:
    unread = {"samples_digest": None}
    check = compare_gradients(sketch(*ELSEWHERE, **unread), sketch(ENCODER, HEAD, **unread))
    assert check is not None
    assert check.passed
    assert not check.is_exact


@pytest.mark.parametrize("changes", [{"is_random": True}, {"samples_digest": None}])
def test_what_agrees_all_the_same_is_exact(changes: dict[str, object]) -> None:
    check = compare_gradients(sketch(ENCODER, HEAD, **changes), REFERENCE)
    assert check is not None
    assert check.passed
    assert check.is_exact
    assert check.tolerance == 1e-3


@pytest.mark.parametrize(("factor", "passes"), [(1.39, True), (1.41, False), (0.72, True), (0.71, False), (2.0, False)])
def test_chance_does_not_hide_another_size(factor: float, passes: bool) -> None:
    ours = sketch(*scaled(factor, ENCODER, HEAD), is_random=True, num_micro_batches=2)
    check = compare_gradients(ours, REFERENCE)
    assert check is not None
    assert check.passed is check.whole.passed is passes


def test_chance_does_not_hide_the_accumulation_steps() -> None:
    ours = sketch(*scaled(14.9, ENCODER, HEAD), is_random=True, num_micro_batches=16)
    check = compare_gradients(ours, REFERENCE)
    assert check is not None
    assert check.message == (
        "the gradient of the first step is 14.9 times as large as that of your own arguments: it grows with the "
        "accumulation steps, so the loss is not divided by them"
    )


def test_what_was_not_kept_or_is_not_finite_is_not_compared() -> None:
    overflowed = sketch(is_finite=False)
    for ours, theirs in [(None, REFERENCE), (REFERENCE, None), (overflowed, REFERENCE), (REFERENCE, overflowed)]:
        assert compare_gradients(ours, theirs) is None


@pytest.mark.parametrize(
    ("ours", "theirs", "could"),
    [
        (sketch(*ELSEWHERE, is_random=True), REFERENCE, True),
        (sketch(*ELSEWHERE), REFERENCE.model_copy(update={"is_random": True}), True),
        (REFERENCE.model_copy(update={"is_random": True}), REFERENCE, False),
        (sketch(*ELSEWHERE), REFERENCE, False),
        (sketch(*ELSEWHERE, is_random=True, samples_digest=8), REFERENCE, False),
        (sketch(*scaled(2.0, *ELSEWHERE), is_random=True), REFERENCE, False),
        (None, REFERENCE, False),
        (REFERENCE, None, False),
    ],
)
def test_a_run_without_dropout_helps_where_chance_alone_stands_between(
    ours: GradientSketch | None, theirs: GradientSketch | None, could: bool
) -> None:
    assert is_hidden_by_chance(ours, theirs) is could
