"""One candidate run once in its own process: what is asked, what was observed, how it ended."""

from enum import Enum
from typing import Any

from pydantic import Field, model_validator

from perftune.records.base import Record
from perftune.records.candidate import Candidate
from perftune.records.device import Telemetry
from perftune.records.gradients import GradientSketch


class Outcome(str, Enum):
    """How a trial ended. Values are never removed, only added."""

    COMPLETED = "completed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    KILLED = "killed"
    DIVERGED = "diverged"
    UNSUPPORTED = "unsupported"
    GAVE_UP = "gave_up"
    """Not one step was finished: the first took too long already for the candidate to win."""
    DISK_FULL = "disk_full"
    """A disk had no room; whatever the candidate, and so in no study: it is run again once there is room."""


class Purpose(str, Enum):
    """Why a trial was run."""

    SEARCH = "search"
    RACE = "race"
    ABLATION = "ablation"
    LOSS = "loss"
    WITHOUT_DROPOUT = "no-dropout"
    """Loss and first gradient, with every dropout at zero."""
    FINAL = "final"
    EVALUATION = "evaluation"


class WorkloadSource(Record):
    """What trains: a ``build`` function in a file, or a model and a task without code. Exactly one of the two."""

    build: str | None = None
    """``path/to/file.py:function``; the path is absolute here."""
    model: dict[str, Any] | None = None
    """A resolved ``model``/``task``/``data`` declaration (records.probe.ModelWorkload as JSON)."""
    working_directory: str
    """The folder of the probe file; relative paths of the user's code are taken from here."""
    trust_remote_code: bool = False


class StopRule(Record):
    """When a trial has seen enough."""

    min_steps: int = Field(default=4, ge=1)
    """Measured optimizer steps, warm-up not counted."""
    max_steps: int = Field(default=40, ge=1)
    max_seconds: float = 20.0
    """Time for the measured steps; `min_steps` come first."""
    relative_half_width: float = 0.02
    """Stop once the confidence interval of the median step is this tight."""
    give_up_step_seconds: float | None = None
    """Stop once the interval of the median step lies above this: the candidate cannot win."""
    give_up_first_step_seconds: float | None = None
    """Stop in the first step once it has taken longer than this, before the next micro-batch; it must allow for what
    only a first step does, such as compiling."""
    max_wall_seconds: float | None = None
    """From the request on: no step is begun that would end later, nor the worst batch; what was measured stands."""


class TurnRule(Record):
    """How a trial takes turns with others that live beside it: it trains for a slice, answers, and waits."""

    warmup_steps: int = Field(default=3, ge=1)
    """Optimizer steps before the first round."""
    max_steps: int = Field(default=2000, ge=1)
    """Of the whole heat: the schedule is made for so many, and the parent asks for no more."""


class TrialRequest(Record):
    """What the child process is asked to do; ``request.json``."""

    number: int
    purpose: Purpose
    candidate: Candidate
    workload: WorkloadSource
    arguments: dict[str, Any]
    """TrainingArguments fields: the user's base, overlaid with what the candidate sets."""
    attn_implementation: str | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    device: str = "cpu"
    memory_limit_bytes: int | None = None
    stop: StopRule = StopRule()
    deadline_seconds: float = 600.0
    """From the start of the process to its result; then the whole process group is killed."""
    worst_batch: tuple[int, ...] = ()
    """Indices of the samples that make the heaviest micro-batch; one optimizer step of it is run after the measured
    ones, when the optimizer has its state. Empty: not run."""
    evaluate: bool = False
    eval_batch_sizes: tuple[int, ...] = ()
    """Evaluate the same samples with each of these in turns, after training; ascending."""
    evaluation_seconds: float = 20.0
    """What all of these may take together."""
    save_checkpoint: bool = False
    without_dropout: bool = False
    """Train with every dropout at zero, so that the gradient of the first step has no chance in it."""
    exact_steps: int | None = None
    """Run exactly this many optimizer steps, whatever the stop rule says (loss comparison)."""
    heat: int | None = None
    """Trials with the same number live side by side; the number is that of the first of them."""
    turns: TurnRule | None = None
    """Given in a heat: then it, and not the stop rule, says how many steps are run."""
    num_processes: int = 1
    requested_monotonic_seconds: float | None = None
    """CLOCK_MONOTONIC when the trial was asked for; it is one clock for all processes of a machine."""


class Steps(Record):
    """Raw values of consecutive optimizer steps, one entry a step; warm-up included."""

    step_seconds: tuple[float, ...] = ()
    data_seconds: tuple[float, ...] = ()
    """Waiting for the data loader."""
    forward_seconds: tuple[float, ...] = ()
    backward_seconds: tuple[float, ...] = ()
    optimizer_seconds: tuple[float, ...] = ()
    """From the end of the last backward to the zeroed gradients: clipping included."""
    num_samples: tuple[int, ...] = ()
    num_tokens: tuple[int, ...] = ()
    """Without padding; 0 where the inputs have no tokens."""
    num_padded_tokens: tuple[int, ...] = ()
    """With padding."""
    loss: tuple[float, ...] = ()
    grad_norm: tuple[float | None, ...] = ()

    @model_validator(mode="after")
    def _same_length(self) -> "Steps":
        lengths = {len(getattr(self, name)) for name in type(self).model_fields}
        if len(lengths) > 1:
            raise ValueError(f"step series differ in length: {sorted(lengths)}")
        return self

    def __len__(self) -> int:
        return len(self.step_seconds)


class Slice(Record):
    """Consecutive optimizer steps that a trial ran in its turn of a round, and what disturbed them.

    What the kernel does not tell is None. Several processes of a trial are summed up.
    """

    round: int
    """From 0."""
    first_step: int
    """Index into the steps of the measurement."""
    num_steps: int
    begun_monotonic_seconds: float
    """CLOCK_MONOTONIC, which is one for all processes of a machine."""
    run_queue_seconds: float | None = None
    """How long threads that computed had work and no core, summed over them (schedstat, 2nd field)."""
    num_threads: int = 0
    """How many threads computed; 0 where a GPU does, which goes on while they wait."""
    steal_seconds: float | None = None
    """What the hypervisor took from all cores of this machine (proc(5), /proc/stat)."""
    clock_hertz: float | None = None
    """Mean over the cores at the end of the slice."""


class MemoryPeak(Record):
    """Peak memory of one trial. On CPU: resident high-water mark over the start; on CUDA: the allocator's figures."""

    kind: str
    """``resident`` or ``allocated``."""
    peak_bytes: int
    """The largest of the phases below; what is compared with the limit (on CUDA: reserved)."""
    start_bytes: int
    train_bytes: int
    """Peak of training, the worst batch included when it was asked for."""
    worst_batch_bytes: int | None = None
    evaluate_bytes: int | None = None
    save_bytes: int | None = None
    reserved_bytes: int | None = None
    num_alloc_retries: int | None = None


class Evaluation(Record):
    """One pass over (the start of) the evaluation data."""

    num_samples: int
    seconds: float
    per_device_eval_batch_size: int
    round: int = 0
    """Where several sizes are evaluated in turns, all on the same samples."""
    peak_bytes: int | None = None
    """Counted as `MemoryPeak.peak_bytes`."""


class Measurement(Record):
    """What a completed trial observed, raw."""

    steps: Steps
    num_warmup_steps: int
    """Leading steps that are not steady; found, not assumed."""
    memory: MemoryPeak
    evaluation: Evaluation | None = None
    evaluations: tuple[Evaluation, ...] = ()
    """Of several batch sizes, in turns; a size that ran out of memory, and those above it, are not there."""
    evaluation_error: str | None = None
    """What the user's evaluation raised, if it was not for want of memory; the trial completes all the same."""
    checkpoint_error: str | None = None
    """What writing a checkpoint raised, if it was neither for want of memory nor of disk; the trial completes."""
    start_seconds: float
    """From the request to the first line of the child."""
    build_seconds: float
    """Building the workload and the Trainer."""
    worst_batch_ran: bool = False
    """Not, if it was not asked for, the trial was given up, or its bound would have been passed."""
    num_trainable_parameters: int | None = None
    """After the last step: a callback may have frozen some of those that were built to train."""
    telemetry: Telemetry | None = None
    """Of the GPU, right after the last step."""
    first_gradient: GradientSketch | None = None
    """Of the first optimizer step, before clipping."""
    first_rows: str | None = None
    """A digest of the rows of the data that the first optimizer step drew, in whatever order they were drawn …"""
    row_contents: str | None = None
    """… and one of what a few rows hold before they are collated; None where either cannot be known."""
    knows_samples: bool = False
    """Whether samples were counted where they were drawn; else they are what the first dimension of the batch says."""
    token_share: float | None = None
    """Tokens that the model was given in the first optimizer step, over those that the loader gave."""
    learning_rates: tuple[float, ...] = ()
    """What the schedule of the optimizer's groups began with and what the first step had, each once, ascending."""
    num_steps_inside: int = 0
    """Steps that optimizers made within the micro-batches of the first optimizer step, as one of the user's own may."""
    stopped_because: str
    """``interval``, ``cannot_win``, ``max_steps``, ``max_seconds``, ``max_wall_seconds``, ``exact_steps``,
    ``heat_ended`` or ``training_ended``."""
    slices: tuple[Slice, ...] = ()
    """Of a trial that ran in turns; the steps before the first are its warm-up."""
    stretches: tuple[Slice, ...] = ()
    """Of a trial that ran by itself: its steps, a few at a time, with what disturbed them."""


class Failure(Record):
    """Why a trial did not complete."""

    kind: Outcome
    message: str
    """One line for the user."""
    error_type: str | None = None
    where: str | None = None
    """The place in the user's own files, such as ``train.py, line 6``; None where none of them had a part in it."""
    traceback: str | None = None
    peak_bytes: int | None = None
    """What was in use when memory ran out, if known."""
    step_seconds: float | None = None
    """Of a trial that was given up: what its first optimizer step would have taken, by the part of it that was run."""
    disk_bytes: int | None = None
    """Of one whose checkpoint found no room on the disk: about what it takes there."""


class TrialResult(Record):
    """What the child writes; ``result.json``. Exactly one of the two is there."""

    measurement: Measurement | None = None
    failure: Failure | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "TrialResult":
        if (self.measurement is None) == (self.failure is None):
            raise ValueError("a result has either a measurement or a failure")
        return self


class Trial(Record):
    """One line of a study."""

    number: int
    purpose: Purpose
    candidate: Candidate
    outcome: Outcome
    measurement: Measurement | None = None
    failure: Failure | None = None
    wall_seconds: float
    """What the trial cost, from request to result; in a heat its own part, so that those of a heat add up."""
    heat: int | None = None
    """Trials with the same number ran side by side, in turns."""
    num_kills: int = 0
    """How often it, or its heat, was begun before and killed from outside; what ran until then does not count."""

    @model_validator(mode="after")
    def _possible(self) -> "Trial":
        if (self.outcome is Outcome.COMPLETED) != (self.measurement is not None):
            raise ValueError(f"a trial that {self.outcome.value} cannot have this measurement")
        if (self.outcome is Outcome.COMPLETED) == (self.failure is not None):
            raise ValueError(f"a trial that {self.outcome.value} cannot have this failure")
        return self


class Heartbeat(Record):
    """What a running trial tells while it runs; ``heartbeat.json``, replaced after every step."""

    phase: str
    """``build``, ``worst_batch``, ``train``, ``evaluate`` or ``save``."""
    num_steps: int = 0
    step_seconds: float | None = None
    memory_bytes: int | None = None
