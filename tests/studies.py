"""A study made by hand, with the numbers of a small classifier on a four-core machine."""

from typing import Any

from perftune.records.candidate import Candidate, Knob, Space
from perftune.records.device import Device, Versions
from perftune.records.probe import ModelWorkload, ProbeSpec, SyntheticData, Target, Task
from perftune.records.recommendation import (
    Decision,
    Interval,
    LossCheck,
    PairedComparison,
    Recommendation,
    Rejection,
    Summary,
    TunedLine,
)
from perftune.records.study import Study
from perftune.records.survey import Survey, WorstSample
from perftune.records.trial import (
    Evaluation,
    Failure,
    Measurement,
    MemoryPeak,
    Outcome,
    Purpose,
    Steps,
    Trial,
)
from perftune.units import GIB, MIB

BASE = Candidate(
    settings={
        "per_device_train_batch_size": 8,
        "precision": "fp32",
        "optim": "adamw_torch",
        "attn_implementation": "eager",
        "torch_compile": False,
    }
)
TUNED = BASE.replace(per_device_train_batch_size=16, precision="bf16", attn_implementation="sdpa")
OWN = {"output_dir": "out", "learning_rate": 5e-05, "num_train_epochs": 3, "lr_scheduler_kwargs": {"num_cycles": 1}}
DEVICE = Device(kind="cpu", name="AMD EPYC 7B13", memory_bytes=16 * GIB, num_cores=4, instruction_sets=("avx2",))
VERSIONS = Versions(
    python="3.11.9", perftune="0.1.0", packages={"torch": "2.13.0", "transformers": "5.23.0", "accelerate": "1.15.0"}
)


def measurement(step_seconds: float, peak_bytes: int, *, final: bool = False, num_samples: int = 32) -> Measurement:
    """Six steps, the first of them warm-up."""
    seconds = [step_seconds * factor for factor in (1.9, 1.01, 0.99, 1.0, 1.02, 0.98)]
    n = len(seconds)
    steps = Steps(
        step_seconds=tuple(seconds),
        data_seconds=(0.001,) * n,
        forward_seconds=tuple(0.3 * value for value in seconds),
        backward_seconds=tuple(0.6 * value for value in seconds),
        optimizer_seconds=tuple(0.08 * value for value in seconds),
        num_samples=(num_samples,) * n,
        num_tokens=(num_samples * 41,) * n,
        num_padded_tokens=(num_samples * 64,) * n,
        loss=tuple(0.7 - 0.01 * i for i in range(n)),
        grad_norm=(1.5,) * n,
    )
    memory = MemoryPeak(
        kind="resident",
        peak_bytes=peak_bytes,
        start_bytes=300 * MIB,
        train_bytes=peak_bytes,
        worst_batch_bytes=peak_bytes if final else None,
        evaluate_bytes=peak_bytes // 2 if final else None,
        save_bytes=peak_bytes // 2 if final else None,
    )
    return Measurement(
        steps=steps,
        num_warmup_steps=1,
        memory=memory,
        evaluation=Evaluation(num_samples=256, seconds=0.9, per_device_eval_batch_size=64) if final else None,
        start_seconds=0.03,
        build_seconds=0.4,
        worst_batch_ran=final,
        stopped_because="interval",
    )


def trial(number: int, purpose: Purpose, candidate: Candidate, seconds: float, peak_mib: int, **options: Any) -> Trial:
    """A completed trial."""
    return Trial(
        number=number,
        purpose=purpose,
        candidate=candidate,
        outcome=Outcome.COMPLETED,
        measurement=measurement(seconds, peak_mib * MIB, final=purpose is Purpose.FINAL, **options),
        wall_seconds=5.2,
    )


def failed(number: int, candidate: Candidate, outcome: Outcome, message: str, peak_bytes: int | None = None) -> Trial:
    """A trial that did not complete."""
    return Trial(
        number=number,
        purpose=Purpose.SEARCH,
        candidate=candidate,
        outcome=outcome,
        failure=Failure(kind=outcome, message=message, peak_bytes=peak_bytes),
        wall_seconds=2.0,
    )


def trials() -> tuple[Trial, ...]:
    """Search, race, loss, reasons and the final run."""
    half = BASE.replace(precision="bf16")
    found = [
        trial(1, Purpose.SEARCH, BASE, 0.412, 1204),
        trial(2, Purpose.SEARCH, BASE.replace(per_device_train_batch_size=16), 0.391, 1490),
        trial(3, Purpose.SEARCH, half, 0.286, 1130),
        failed(4, TUNED.replace(per_device_train_batch_size=32), Outcome.OUT_OF_MEMORY, "needed 2.1 GiB", 2100 * MIB),
        trial(5, Purpose.SEARCH, TUNED, 0.241, 1310),
        failed(6, TUNED.replace(torch_compile=True), Outcome.CRASHED, "no C++ compiler was found"),
        trial(7, Purpose.RACE, TUNED, 0.242, 1312),
        trial(8, Purpose.RACE, BASE, 0.410, 1206),
        trial(9, Purpose.RACE, BASE, 0.415, 1206),
        trial(10, Purpose.RACE, TUNED, 0.240, 1311),
        trial(11, Purpose.LOSS, TUNED, 0.242, 1311),
        trial(12, Purpose.LOSS, BASE, 0.411, 1205),
        trial(13, Purpose.FINAL, TUNED, 0.243, 1388),
    ]
    return tuple(found)


def lines() -> tuple[TunedLine, ...]:
    """What is tuned, with the reasons as the tuner words them."""
    return (
        TunedLine(
            field="per_device_train_batch_size",
            value=16,
            user_value=8,
            speedup=Interval(value=1.06, low=1.02, high=1.11),
            memory_bytes=182 * MIB,
            reason="1.06 times as fast with it as without (1.02 to 1.11), 182.00 MiB more at peak",
        ),
        TunedLine(
            field="gradient_accumulation_steps", value=2, user_value=4, reason="keeps the global batch: 16 × 2 × 1 = 32"
        ),
        TunedLine(
            field="bf16",
            value=True,
            user_value=False,
            speedup=Interval(value=1.44, low=1.40, high=1.49),
            memory_bytes=-90 * MIB,
            reason="1.44 times as fast with it as without (1.40 to 1.49), 90.00 MiB less at peak",
        ),
        TunedLine(
            field="attn_implementation",
            value="sdpa",
            user_value="eager",
            speedup=Interval(value=1.12, low=1.09, high=1.15),
            reason="1.12 times as fast with it as without (1.09 to 1.15)",
        ),
    )


def recommendation() -> Recommendation:
    """Tuned, 1.71 times as fast."""
    return Recommendation(
        decision=Decision.TUNED,
        candidate=TUNED,
        arguments={
            **OWN,
            "per_device_train_batch_size": 16,
            "gradient_accumulation_steps": 2,
            "bf16": True,
            "per_device_eval_batch_size": 64,
        },
        attn_implementation="sdpa",
        lines=lines(),
        before=Summary(
            samples_per_second=77.6, tokens_per_second=3182.0, step_seconds=0.4125, peak_memory_bytes=1206 * MIB
        ),
        after=Summary(
            samples_per_second=132.8, tokens_per_second=5444.0, step_seconds=0.241, peak_memory_bytes=1312 * MIB
        ),
        comparison=PairedComparison(
            ratio=Interval(value=1.71, low=1.66, high=1.77), num_pairs=2, pairs=((7, 8), (10, 9))
        ),
        loss_check=LossCheck(
            num_steps=24,
            relative_difference=Interval(value=0.0012, low=-0.0031, high=0.0055),
            tolerance=0.02,
            passed=True,
            trials=(11, 12),
        ),
        final_trial=13,
        headroom_bytes=2 * GIB - 1388 * MIB,
        runners_up=(BASE.replace(precision="bf16"),),
        rejected=(
            Rejection(what="per_device_train_batch_size=32", reason="out_of_memory: needed 2.1 GiB", trial=4),
            Rejection(what="torch_compile=True", reason="crashed: no C++ compiler was found", trial=6),
            Rejection(what="precision=fp16", reason="fp16 needs a GPU"),
            *(Rejection(what=f"optim={name}", reason="needs a CUDA GPU") for name in ("a", "b", "c", "d", "e")),
        ),
        eval_batch_size=64,
        notes=("throughput drifted by 3 % while it was measured",),
    )


def survey() -> Survey:
    """A classifier with 22 million parameters."""
    return Survey(
        trainer_class="Trainer",
        model_class="BertForSequenceClassification",
        num_parameters=22_713_986,
        num_trainable_parameters=22_713_986,
        num_samples=2000,
        num_samples_scanned=2000,
        worst_samples=(WorstSample(index=1417, num_tokens=256), WorstSample(index=3, num_tokens=251)),
        mean_num_tokens=41.0,
        has_eval_dataset=True,
        arguments={},
        argument_fields=(*OWN, "bf16", "per_device_train_batch_size"),
        base=BASE.settings,
        supported={},
        unsupported={"precision": {"fp16": "fp16 needs a GPU"}},
        device=DEVICE,
        versions=VERSIONS,
    )


def tuned_study(name: str = "classifier", **changes: Any) -> Study:
    """A finished study; `changes` are fields of its recommendation."""
    probe = ProbeSpec(
        name=name,
        source_path="model.yaml",
        workload=ModelWorkload(model="bert", task=Task.SEQUENCE_CLASSIFICATION, data=SyntheticData()),
        training_arguments=OWN,
        global_batch_size=32,
        target=Target(memory_bytes=2 * GIB),
    )
    knobs = tuple(Knob(name=name, values=(value,)) for name, value in BASE.settings.items())
    return Study(
        probe=probe,
        probe_sha256=probe.sha256,
        survey=survey(),
        space=Space(
            knobs=knobs, base=BASE, global_batch_size=32, memory_limit_bytes=2 * GIB, headroom=0.1, device=DEVICE
        ),
        strategy="model",
        trials=trials(),
        recommendation=recommendation().model_copy(update=changes),
        created="2026-11-24T01:02:03+00:00",
    )


def kept_study(**changes: Any) -> Study:
    """A finished study in which the user's own arguments are the best."""
    own = recommendation()
    kept: dict[str, Any] = {
        "decision": Decision.KEEP_YOURS,
        "candidate": BASE,
        "arguments": {**OWN, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 4},
        "attn_implementation": None,
        "lines": (),
        "after": own.before,
        "comparison": None,
        "loss_check": None,
        "eval_batch_size": None,
    }
    return tuned_study(**{**kept, **changes})
