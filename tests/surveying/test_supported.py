"""What a device can take: fp16 on a CPU would be fp32 by another name, and is said to be."""

from pathlib import Path

import torch
from transformers import Trainer, TrainingArguments

from perftune.surveying.supported import precisions


def test_fp16_is_no_precision_of_a_cpu() -> None:
    asked, reasons = precisions("cpu")
    assert {name for name in asked if name not in reasons} == {"fp32", "bf16"}
    assert "autocast" in reasons["fp16"]


def test_because_accelerate_runs_it_without_autocast(tmp_path: Path) -> None:
    seen = {}
    for name in ("bf16", "fp16"):
        args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[], **{name: True})
        trainer = Trainer(model=torch.nn.Linear(2, 2), args=args)
        with trainer.compute_loss_context_manager(), trainer.accelerator.autocast():
            seen[name] = torch.nn.functional.linear(torch.ones(2, 2), torch.ones(2, 2)).dtype
    assert seen == {"bf16": torch.bfloat16, "fp16": torch.float32}
