"""The recommended file to a training without perftune: what it trained on, how fast, and how much memory it took.

python -m benchmarks.tuned.plain training_args.yaml path/to/workload.py:build 40 result.json [attention]

Nothing of perftune is in the process: the file is read by `HfArgumentParser`, the user's function builds the Trainer,
and samples are counted in what its collator is handed, when the step trains on them: a loader is a batch ahead.
"""

import importlib.util
import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser, Trainer, TrainerCallback, TrainingArguments, set_seed


class Counting:
    """The user's collator and training step, with the samples counted that are trained on."""

    def __init__(self, trainer: Trainer) -> None:
        self.collator, self.step = trainer.data_collator, trainer.training_step
        self.batches: deque[int] = deque()
        self.num_samples = 0

    def collate(self, features: list[Any]) -> Any:
        """The user's batch."""
        self.batches.append(len(features))
        return self.collator(features)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """The user's step, on the batch that was made first."""
        self.num_samples += self.batches.popleft()
        return self.step(*args, **kwargs)


class Clock(TrainerCallback):
    """When each optimizer step ended, and the samples drawn until then."""

    def __init__(self, counting: Counting) -> None:
        self.counting = counting
        self.ends: list[float] = []
        self.drawn: list[int] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note both."""
        self.ends.append(time.perf_counter())
        self.drawn.append(self.counting.num_samples)


def resident_bytes(field: str) -> int:
    """``VmRSS`` or ``VmHWM`` of this process."""
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def build(path: str, args: TrainingArguments) -> Trainer:
    """What the user's own script does."""
    file, _, function = path.rpartition(":")
    sys.path.insert(0, str(Path(file).parent))
    spec = importlib.util.spec_from_file_location("workload", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    trainer: Trainer = getattr(module, function)(args)
    return trainer


def main() -> None:
    """Train so many steps and write the figures."""
    file, path, num_steps, result, *attention = sys.argv[1:]
    (args,) = HfArgumentParser([TrainingArguments]).parse_yaml_file(file, allow_extra_keys=True)
    args.max_steps, args.save_strategy, args.eval_strategy, args.report_to = int(num_steps), "no", "no", []
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins here
    before = resident_bytes("VmRSS")
    set_seed(args.seed)
    trainer = build(path, args)
    if attention:
        model: Any = trainer.model
        getattr(model, "get_base_model", lambda: model)().set_attn_implementation(attention[0])
    counting = Counting(trainer)
    trainer.data_collator = counting.collate
    trainer.training_step = counting.training_step  # type: ignore[method-assign]  # of this one object
    trainer.add_callback(clock := Clock(counting))
    trainer.train()
    figures = {"ends": clock.ends, "drawn": clock.drawn, "peak_bytes": resident_bytes("VmHWM") - before}
    Path(result).write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
