"""A seed becomes a made-up machine and workload with plausible physics, which runs candidates in no time.

Not a measurement of anything: it is for developing and testing the search, where the truth has to be known exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from perftune.records.candidate import Candidate, Knob, Space
from perftune.records.device import Device
from perftune.records.trial import Failure, Measurement, MemoryPeak, Outcome, Purpose, Steps, Trial

MIB = 2**20
NUM_STEPS = 5
START_BYTES = 350 * MIB
"""Resident when a trial begins; peaks are over it."""
OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "adamw_bnb_8bit", "paged_adamw_8bit", "adamw_torch_8bit")


@dataclass
class World:
    """One workload on one machine.

    Args:
        seed: decides the physics.
        noise: spread of the log of a whole trial.
        outliers: chance that a trial takes twice as long.
        drift: slowness of the machine at the n-th trial.
    """

    seed: int
    noise: float | None = None
    outliers: float = 0.03
    drift: Callable[[int], float] = field(default=lambda _: 1.0)

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, 7])
        self._draw_physics(rng)
        self.space = self._draw_space(rng)
        self._noise_rng = np.random.default_rng([self.seed, 11])
        self.noise = float(rng.uniform(0.01, 0.06)) if self.noise is None else self.noise

    def _draw_physics(self, rng: np.random.Generator) -> None:
        def uniform(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        self._sample_seconds = 10 ** uniform(-3, -1)
        self._micro_seconds = self._sample_seconds * 10 ** uniform(-1, 0.9)
        self._bend_size = 2 ** uniform(1, 5)
        self._bend = uniform(0, 0.12)
        self._precision = {"fp32": (1.0, 1.0), "bf16": (uniform(0.35, 1.3), uniform(1.0, 1.5)),
                           "fp16": (uniform(0.4, 2.5), uniform(1.0, 1.5))}  # fmt: skip
        self._recompute = uniform(0.8, 1.1)
        self._attention = {"sdpa": 1.0, "eager": uniform(0.85, 1.3)}
        self._optimizer_share = 10 ** uniform(-2, 0)
        self._optimizer = dict(zip(OPTIMIZERS, (1.0, uniform(0.4, 0.9), uniform(0.5, 2.5), uniform(0.5, 2.6),
                                                uniform(0.8, 8.0)), strict=True))  # fmt: skip
        self._data_share = 10 ** uniform(-3, -0.7)
        self._worker_cost = uniform(1.0, 1.08)
        self._rest = uniform(0.01, 0.08)
        self._process_bytes = uniform(90, 150) * MIB
        self._state_bytes = uniform(50, 600) * MIB
        self._sample_bytes = 10 ** uniform(0, 1.7) * MIB
        self._checkpointed = uniform(0.15, 0.6)
        self._tight = uniform(0, 1) < 0.5

    def _draw_space(self, rng: np.random.Generator) -> Space:
        global_batch = int(rng.choice([16, 24, 32, 48, 64, 96]))
        sizes = [size for size in range(1, global_batch + 1) if global_batch % size == 0]
        own = int(rng.choice([size for size in sizes if size <= 8]))
        knobs = [
            Knob(name="per_device_train_batch_size", values=(own, *(size for size in sizes if size != own))),
            Knob(name="precision", values=("fp32", "bf16", "fp16") if rng.random() < 0.3 else ("fp32", "bf16")),
            Knob(name="activation_checkpointing", values=(False, True)),
            Knob(name="optim", values=OPTIMIZERS[: int(rng.integers(2, 6))]),
        ]
        if rng.random() < 0.6:
            knobs.append(Knob(name="attn_implementation", values=("sdpa", "eager")))
        if rng.random() < 0.6:
            knobs.append(Knob(name="dataloader_num_workers", values=(0, 2)))
        self._global_batch = global_batch
        largest = self._process_bytes + 1.5 * self._state_bytes + self._sample_bytes * global_batch
        limit = largest * (float(rng.uniform(0.45, 0.9)) if self._tight else 1.5)
        limit = max(limit, 1.3 * (self._process_bytes + 1.6 * self._state_bytes + self._sample_bytes * own))
        return Space(
            knobs=tuple(knobs),
            base=Candidate(settings={knob.name: knob.values[0] for knob in knobs}),
            global_batch_size=global_batch,
            memory_limit_bytes=int(limit),
            headroom=0.1,
            device=Device(
                kind="cpu", name="made up", memory_bytes=int(limit), num_cores=2, instruction_sets=("avx512_bf16",)
            ),
        )

    def parts(self, candidate: Candidate) -> dict[str, float]:
        """True seconds of an optimizer step: data, forward, backward, optimizer, rest."""
        get = candidate.settings.get
        size = candidate.micro_batch
        micro_steps = self._global_batch // size
        per_sample, per_micro = self._precision[str(get("precision"))]
        checkpointing = get("activation_checkpointing") is True
        bend = self._bend * max(0.0, np.log2(size / self._bend_size)) * (0.5 if checkpointing else 1.0)
        per_sample *= (1 + bend) * self._attention[str(get("attn_implementation", "sdpa"))]
        workers = get("dataloader_num_workers", 0) == 2
        third = (self._micro_seconds * per_micro + self._sample_seconds * per_sample * size) / 3 * micro_steps
        third *= self._worker_cost if workers else 1.0
        whole = self._sample_seconds * self._global_batch
        return {
            "data": whole * self._data_share * (0.1 if workers else 1.0),
            "forward": third,
            "backward": 2 * third + (third * self._recompute if checkpointing else 0.0),
            "optimizer": whole * self._optimizer_share * self._optimizer[str(get("optim"))],
            "rest": whole * self._rest * (0.3 + 0.7 * micro_steps / self._global_batch),
        }

    def seconds(self, candidate: Candidate) -> float:
        """True seconds of an optimizer step."""
        return sum(self.parts(candidate).values())

    def peak_bytes(self, candidate: Candidate) -> float:
        """True peak memory."""
        states = self._state_bytes * (0.6 if "8bit" in str(candidate.settings["optim"]) else 1.0)
        states *= 1.25 if candidate.settings["precision"] != "fp32" else 1.0
        slope = self._sample_bytes * (0.75 if candidate.settings["precision"] != "fp32" else 1.0)
        slope *= self._checkpointed if candidate.settings["activation_checkpointing"] is True else 1.0
        return self._process_bytes + states + slope * candidate.micro_batch

    def run(self, candidate: Candidate, number: int, purpose: Purpose = Purpose.SEARCH) -> Trial:
        """One noisy trial."""
        rng = self._noise_rng
        assert self.noise is not None
        slow = self.drift(number) * float(np.exp(rng.normal(0, self.noise)))
        slow *= 2.0 if rng.random() < self.outliers else 1.0
        peak = self.peak_bytes(candidate) * float(np.exp(rng.normal(0, 0.003)))
        if peak > self.space.memory_limit_bytes:
            failure = Failure(kind=Outcome.OUT_OF_MEMORY, message="made up: out of memory")
            return Trial(number=number, purpose=purpose, candidate=candidate, outcome=Outcome.OUT_OF_MEMORY,
                         failure=failure, wall_seconds=2.0 * slow)  # fmt: skip
        steps = self._steps(candidate, slow, rng)
        measurement = Measurement(
            steps=steps,
            num_warmup_steps=0,
            memory=MemoryPeak(kind="resident", peak_bytes=int(peak), start_bytes=START_BYTES, train_bytes=int(peak)),
            start_seconds=0.03 * slow,
            build_seconds=0.8 * slow * float(np.exp(rng.normal(0, 0.08))),
            stopped_because="max_steps",
        )
        return Trial(number=number, purpose=purpose, candidate=candidate, outcome=Outcome.COMPLETED,
                     measurement=measurement, wall_seconds=1.0 + sum(steps.step_seconds))  # fmt: skip

    def _steps(self, candidate: Candidate, slow: float, rng: np.random.Generator) -> Steps:
        lengths = 1 + 0.1 * np.sin(np.arange(NUM_STEPS))
        parts = {
            name: tuple((seconds * slow * lengths * np.exp(rng.normal(0, 0.02, NUM_STEPS))).tolist())
            for name, seconds in self.parts(candidate).items()
        }
        return Steps(
            step_seconds=tuple(sum(values) for values in zip(*parts.values(), strict=True)),
            data_seconds=parts["data"],
            forward_seconds=parts["forward"],
            backward_seconds=parts["backward"],
            optimizer_seconds=parts["optimizer"],
            num_samples=(self._global_batch,) * NUM_STEPS,
            num_tokens=(0,) * NUM_STEPS,
            num_padded_tokens=(0,) * NUM_STEPS,
            loss=(1.0,) * NUM_STEPS,
            grad_norm=(None,) * NUM_STEPS,
        )

    def best_seconds(self) -> float:
        """True seconds of the best candidate that fits."""
        usable = self.space.usable_memory_bytes
        return min(self.seconds(c) for c in self.space.candidates() if self.peak_bytes(c) <= usable)
