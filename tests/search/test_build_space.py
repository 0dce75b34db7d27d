import pytest

from perftune.errors import ProbeFileError
from perftune.records.candidate import MICRO_BATCH, Change, Knob
from perftune.records.device import Device, Versions
from perftune.records.probe import Objective, ProbeSpec, Target
from perftune.records.survey import Survey
from perftune.search import build_space, ruled_out

EVERY_OPTIMIZER = (
    "adamw_torch", "adamw_torch_fused", "adafactor", "adamw_bnb_8bit", "paged_adamw_8bit", "adamw_torch_8bit",
    "lion_8bit",
)  # fmt: skip
BASE = {
    MICRO_BATCH: 8, "precision": "fp32", "activation_checkpointing": False, "optim": "adamw_torch_fused",
    "attn_implementation": "sdpa", "torch_compile": False, "dataloader_num_workers": 0, "dataloader_pin_memory": True,
    "torch_empty_cache_steps": None, "cuda_allocator": "default", "use_liger_kernel": False,
    "train_sampling_strategy": "random",
}  # fmt: skip
SUPPORTED = {
    "precision": ("fp32", "bf16", "fp16"), "activation_checkpointing": (False, True), "optim": EVERY_OPTIMIZER,
    "attn_implementation": ("sdpa", "eager"), "torch_compile": (False, True),
    "dataloader_num_workers": (0, 1, 2, 4, 8, 16, 32),
    "dataloader_pin_memory": (True, False), "torch_empty_cache_steps": (None, 4),
    "cuda_allocator": ("default", "expandable_segments:True"), "use_liger_kernel": (False,),
    "train_sampling_strategy": ("random", "group_by_length"),
}  # fmt: skip


def survey(kind="cpu", base=None, unsupported=None, cores=2, **fields):
    device = Device(kind=kind, name="a device", memory_bytes=2**33, num_cores=cores)
    return Survey(
        trainer_class="Trainer", model_class="Model", num_parameters=10, num_trainable_parameters=10, num_samples=100,
        num_samples_scanned=100, worst_samples=(), mean_num_tokens=None, has_eval_dataset=False, arguments={},
        argument_fields=(), base={**BASE, **(base or {})}, supported=SUPPORTED, unsupported=unsupported or {},
        device=device, versions=Versions(python="3.11", perftune="0.1.0", packages={}),
        **fields,
    )  # fmt: skip


def probe(**fields):
    return ProbeSpec(**{"name": "p", "source_path": "p.yaml", "build": "w.py:build", "global_batch_size": 24, **fields})


def values(space):
    return {knob.name: knob.values for knob in space.knobs}


def test_every_factorisation_of_the_global_batch_is_there_with_the_users_first():
    space = build_space(probe(), survey())
    sizes = values(space)[MICRO_BATCH]
    assert sizes[0] == 8
    assert sorted(sizes) == [1, 2, 3, 4, 6, 8, 12, 24]
    assert all(
        c.training_arguments(24)["gradient_accumulation_steps"] * c.micro_batch == 24 for c in space.candidates()
    )


def test_devices_share_the_global_batch():
    space = build_space(probe(target=Target(count=2)), survey(base={MICRO_BATCH: 4}))
    assert sorted(values(space)[MICRO_BATCH]) == [1, 2, 3, 4, 6, 12]


def test_an_own_micro_batch_that_does_not_divide_becomes_the_next_smaller_that_does():
    assert build_space(probe(), survey(base={MICRO_BATCH: 10})).base.micro_batch == 8


def test_the_base_is_the_users_own_and_in_the_space():
    space = build_space(probe(), survey())
    assert space.base in space.candidates()
    assert all(space.base.settings[name] == BASE[name] for name in space.base.settings)
    assert all(knob.values[0] == space.base.settings[knob.name] for knob in space.knobs)


def test_defaults_on_cpu():
    knobs = values(build_space(probe(), survey()))
    assert knobs["precision"] == ("fp32", "bf16", "fp16")
    assert knobs["activation_checkpointing"] == (False, True)
    assert knobs["optim"] == (
        "adamw_torch_fused", "adamw_torch", "adamw_bnb_8bit", "paged_adamw_8bit", "adamw_torch_8bit"
    )  # fmt: skip
    assert knobs["attn_implementation"] == ("sdpa", "eager")
    assert knobs["dataloader_num_workers"] == (0, 2)
    assert not {"torch_compile", "dataloader_pin_memory", "cuda_allocator", "train_sampling_strategy"} & set(knobs)


def test_defaults_on_cuda():
    knobs = values(build_space(probe(), survey("cuda", cores=6)))
    assert knobs["torch_compile"] == (False, True)
    assert knobs["dataloader_pin_memory"] == (True, False)
    assert knobs["cuda_allocator"] == ("default", "expandable_segments:True")
    assert knobs["torch_empty_cache_steps"] == (None, 4)
    assert knobs["dataloader_num_workers"] == (0, 2, 4)


@pytest.mark.parametrize(
    ("allow", "name", "expected"),
    [
        ((), "precision", ("fp32",)),
        ((Change.SAME_MATH,), "precision", ("fp32",)),
        ((Change.MIXED_PRECISION,), "precision", ("fp32", "bf16", "fp16")),
        ((Change.SAME_MATH,), "optim", ("adamw_torch_fused", "adamw_torch")),
        ((), "optim", ("adamw_torch_fused",)),
        ((), "activation_checkpointing", (False,)),
        ((Change.SAME_MATH,), "activation_checkpointing", (False, True)),
        ((Change.DATA_ORDER,), "train_sampling_strategy", ("random", "group_by_length")),
    ],
)
def test_what_is_not_allowed_is_not_varied(allow, name, expected):
    assert values(build_space(probe(allow=allow), survey()))[name] == expected


def test_data_order_is_not_touched_unless_allowed():
    assert "train_sampling_strategy" not in values(build_space(probe(), survey()))


def test_an_optimizer_of_another_family_is_kept():
    assert values(build_space(probe(), survey(base={"optim": "adafactor"})))["optim"] == ("adafactor",)


def test_naming_a_value_allows_it_and_nothing_else():
    space = build_space(probe(knobs={"optim": ("lion_8bit", "adamw_torch_fused")}, allow=()), survey())
    assert values(space)["optim"] == ("adamw_torch_fused", "lion_8bit")


def test_one_named_value_is_held_in_the_base_too():
    space = build_space(probe(knobs={"precision": ("bf16",), MICRO_BATCH: (4,)}), survey())
    assert values(space)["precision"] == ("bf16",)
    assert space.base.settings["precision"] == "bf16"
    assert values(space)[MICRO_BATCH] == (4,)


def test_unsupported_values_are_left_out():
    unsupported = {"optim": {"adamw_bnb_8bit": "not installed"}}
    space = build_space(
        probe(knobs={"optim": ("adamw_bnb_8bit", "adamw_torch_fused")}), survey(unsupported=unsupported)
    )
    assert values(space)["optim"] == ("adamw_torch_fused",)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"precision": ("tf32",)}, "knobs.precision"),
        ({MICRO_BATCH: (5, 7)}, "1, 2, 3, 4, 6, 8, 12, 24"),
        ({"optim": ("lomo",)}, "no GPU"),
    ],
)
def test_a_knob_without_a_possible_value_is_an_error_that_says_why(knobs, words):
    with pytest.raises(ProbeFileError, match="none of the named values") as caught:
        build_space(probe(knobs=knobs), survey(unsupported={"optim": {"lomo": "no GPU"}}))
    assert words in str(caught.value)
    assert "p.yaml" in str(caught.value)


def test_true_and_one_are_different_values():
    space = build_space(probe(knobs={"dataloader_num_workers": (0, 2)}), survey())
    assert values(space)["dataloader_num_workers"] == (0, 2)
    assert all(type(value) is int for value in values(space)["dataloader_num_workers"])


def test_the_limit_is_the_probes_or_the_devices():
    assert build_space(probe(), survey()).memory_limit_bytes == 2**33
    assert build_space(probe(target=Target(memory_bytes=2**30)), survey()).memory_limit_bytes == 2**30


def test_a_held_micro_batch_is_the_only_one():
    found = survey().model_copy(update={"supported": {**SUPPORTED, MICRO_BATCH: (8,)}})
    assert values(build_space(probe(), found))[MICRO_BATCH] == (8,)
    assert values(build_space(probe(knobs={MICRO_BATCH: (8, 12)}), found))[MICRO_BATCH] == (8,)


@pytest.mark.parametrize(
    ("cores", "seconds", "computing", "expected"),
    [
        (1, 0.02, 0.0001, (0, 2, 4, 8, 16)),
        (2, 0.02, 0.0001, (0, 2, 4, 8, 16)),
        (2, 0.02, 0.02, (0, 2)),
        (2, 0.02, 0.01, (0, 2)),
        (2, 0.0001, 0.00001, (0, 2)),
        (2, None, None, (0, 2)),
    ],
)
def test_workers_beyond_the_cores_are_for_samples_that_wait(cores, seconds, computing, expected):
    found = survey(cores=cores, sample_seconds=seconds, sample_cpu_seconds=computing)
    assert values(build_space(probe(), found))["dataloader_num_workers"] == expected


def test_on_one_core_samples_that_compute_have_no_workers():
    assert "dataloader_num_workers" not in values(build_space(probe(), survey(cores=1)))


def test_candidates_are_counted_and_made_one_by_one():
    knobs = tuple(Knob(name=f"flag_{i}", values=(False, True)) for i in range(60))
    space = build_space(probe(), survey())
    huge = space.model_copy(update={"knobs": (*space.knobs, *knobs)})
    assert huge.num_candidates == space.num_candidates * 2**60
    assert next(iter(huge.candidates())).settings["flag_0"] is False
    assert space.num_candidates == len(list(space.candidates()))


def test_a_precision_that_multiplies_many_times_slower_is_not_tried_and_it_is_said_why():
    slow, fast = ({"fp32": 6.0e10, "bf16": rate} for rate in (1.0e10, 3.0e10))
    assert "bf16" not in values(build_space(probe(), survey(flops_per_second=slow)))["precision"]
    assert ruled_out(probe(), survey(flops_per_second=slow)) == {
        "precision": {"bf16": "a linear layer takes 6 times as long in it on this CPU, measured in the survey"}
    }
    assert "bf16" in values(build_space(probe(), survey(flops_per_second=fast)))["precision"]
    assert ruled_out(probe(), survey(flops_per_second=fast)) == ruled_out(probe(), survey()) == {}


def test_a_slow_precision_stays_where_it_is_the_users_own_named_or_saves_the_memory_that_is_asked_for():
    slow = {"fp32": 6.0e10, "bf16": 1.0e10}
    own = survey(base={"precision": "bf16"}, flops_per_second=slow)
    assert values(build_space(probe(), own))["precision"][0] == "bf16"
    named = probe(knobs={"precision": ("fp32", "bf16")})
    assert "bf16" in values(build_space(named, survey(flops_per_second=slow)))["precision"]
    saving = probe(objective=Objective.PEAK_MEMORY)
    assert "bf16" in values(build_space(saving, survey(flops_per_second=slow)))["precision"]
