"""Tiny workloads of every kind that a user has; each builds in a moment."""

import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import (
    EarlyStoppingCallback,
    LlamaConfig,
    LlamaForCausalLM,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
)

VOCAB = 64


def sample(index: int) -> dict[str, list[int]]:
    generator = torch.Generator().manual_seed(index)
    length = 4 + index % 13
    ids = torch.randint(3, VOCAB, (length,), generator=generator).tolist()
    return {"input_ids": ids, "labels": list(ids), "attention_mask": [1] * length}


class Sequences(torch.utils.data.Dataset):
    def __init__(self, count: int = 96) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return sample(index)


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self) -> Iterator[dict[str, list[int]]]:
        return (sample(index) for index in range(400))


def pad(samples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    longest = max(len(s["input_ids"]) for s in samples)
    fill = {"input_ids": 0, "labels": -100, "attention_mask": 0}
    return {
        name: torch.tensor([s[name] + [value] * (longest - len(s[name])) for s in samples])
        for name, value in fill.items()
    }


def causal_config() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCAB, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip


def causal_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(causal_config())


def plain(args: TrainingArguments, cls: type[Trainer] = Trainer, **kwargs: Any) -> Trainer:
    data = kwargs.pop("train_dataset", Sequences())
    return cls(
        model=causal_model(), args=args, train_dataset=data, eval_dataset=Sequences(24), data_collator=pad, **kwargs
    )


def without_seed(args: TrainingArguments) -> Trainer:
    """Starts from random weights and leaves the seed to the Trainer, which sets it when they are there."""
    model = LlamaForCausalLM(causal_config())
    return Trainer(model=model, args=args, train_dataset=Sequences(8), data_collator=pad)


def checkpointing_in_code(args: TrainingArguments) -> Trainer:
    trainer = plain(args)
    trainer.model.activation_checkpointing_enable()
    return trainer


class Scaled(Trainer):
    """As with fp16 on a GPU: the loss is scaled, and the optimizer left out while the gradients overflow."""

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        self.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=0.2)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        with Path("states.txt").open("a") as file:
            file.write(f"{len(self.optimizer.state)}\n")
        return super().training_step(*args, **kwargs)

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        return 1000 * super().compute_loss(*args, **kwargs)


def scaled(args: TrainingArguments) -> Trainer:
    return plain(args, cls=Scaled)


def listed(args: TrainingArguments) -> Trainer:
    return plain(args, train_dataset=[sample(index) for index in range(96)])


def without_length(args: TrainingArguments) -> Trainer:
    return plain(args, train_dataset=Stream())


class FoursOnly(Trainer):
    """Its loader gives four samples, whatever is asked for."""

    def get_train_dataloader(self) -> Any:
        rows = torch.utils.data.SequentialSampler(self.train_dataset)
        fours = torch.utils.data.BatchSampler(rows, 4, drop_last=True)
        loader = torch.utils.data.DataLoader(self.train_dataset, batch_sampler=fours, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)


def fours_only(args: TrainingArguments) -> Trainer:
    return plain(args, cls=FoursOnly)


class Edges(torch.nn.Module):
    """A graph has an edge for each of its numbers; no tensor of a batch has a dimension of samples."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Embedding(VOCAB, 1)

    def forward(self, edge_index: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": self.weight(edge_index).square().mean()}


def joined(samples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    ids = [number for one in samples for number in one["edge_index"]]
    return {"edge_index": torch.tensor([ids, ids])}


def graphs(args: TrainingArguments) -> Trainer:
    rows = [{"edge_index": sample(index)["input_ids"]} for index in range(96)]
    return Trainer(model=Edges(), args=args, train_dataset=rows, data_collator=joined)


class Towers(torch.nn.Module):
    """Tells each sample from the others of its micro-batch; or sums over them."""

    def __init__(self, summed: bool) -> None:
        super().__init__()
        self.summed, self.weight = summed, torch.nn.Embedding(VOCAB, 8)

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        vectors = self.weight(input_ids).mean(1)
        scores = vectors @ vectors.T
        loss = torch.nn.functional.cross_entropy(scores, torch.arange(len(scores)))
        return {"loss": vectors.square().sum() if self.summed else loss}


def _towers(args: TrainingArguments, summed: bool) -> Trainer:
    rows = [{"input_ids": sample(index)["input_ids"][:4]} for index in range(96)]
    collate = lambda samples: {"input_ids": torch.tensor([one["input_ids"] for one in samples])}  # noqa: E731
    return Trainer(model=Towers(summed), args=args, train_dataset=rows, data_collator=collate)


def in_batch_negatives(args: TrainingArguments) -> Trainer:
    return _towers(args, summed=False)


def summed_loss(args: TrainingArguments) -> Trainer:
    return _towers(args, summed=True)


class Tied(Edges):
    """Two names for one tensor, which safetensors refuses to write."""

    def __init__(self) -> None:
        super().__init__()
        self.again = torch.nn.Embedding(VOCAB, 1)
        self.again.weight = self.weight.weight


def tied(args: TrainingArguments) -> Trainer:
    trainer = graphs(args)
    return Trainer(model=Tied(), args=args, train_dataset=trainer.train_dataset, data_collator=joined)


class ReadsTheLog(TrainerCallback):
    """Works with the Trainer as it is, which has logged by now."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step > 1 and not state.log_history[-1]["loss"] >= 0:
            control.should_training_stop = True


def reads_the_log(args: TrainingArguments) -> Trainer:
    return plain(args, callbacks=[ReadsTheLog()])


class SavesAdapter(TrainerCallback):
    """Writes down where it was called, as one does that saves an adapter at the end."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        Path("began").touch()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        Path("adapter").touch()

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        Path("logged").touch()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        Path("saved").touch()


def saves_adapter(args: TrainingArguments) -> Trainer:
    return plain(args, callbacks=[SavesAdapter()])


class Tuples(Trainer):
    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        ids, labels = inputs
        outputs = model(input_ids=ids, labels=labels)
        return (outputs.loss, outputs) if return_outputs else outputs.loss


def tuples(args: TrainingArguments) -> Trainer:
    """A collator that returns a tuple."""
    trainer = plain(args, cls=Tuples)
    trainer.data_collator = lambda samples: (pad(samples)["input_ids"], pad(samples)["labels"])
    return trainer


class OwnLoss(Trainer):
    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(**inputs)
        loss = 3.0 * outputs.loss
        return (loss, outputs) if return_outputs else loss


class OwnStep(Trainer):
    """Calls backward itself, and not through accelerate."""

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        model.train()
        loss = model(**self._prepare_inputs(inputs)).loss / self.args.gradient_accumulation_steps
        loss.backward()
        return loss.detach()


class CopiedStep(Trainer):
    """Has the training step of an older Trainer: then it was accelerate that divided by the accumulation."""

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        model.train()
        with self.compute_loss_context_manager():
            loss = self.compute_loss(model, self._prepare_inputs(inputs))
        self.accelerator.backward(loss)
        return loss.detach() / self.args.gradient_accumulation_steps


def copied_step(args: TrainingArguments) -> Trainer:
    return plain(args, CopiedStep)


def copied_step_with_dropout(args: TrainingArguments) -> Trainer:
    trainer = classifier(args)
    return CopiedStep(
        model=trainer.model, args=args, train_dataset=trainer.train_dataset, data_collator=trainer.data_collator
    )


def own_loss(args: TrainingArguments) -> Trainer:
    return plain(args, OwnLoss)


def own_step(args: TrainingArguments) -> Trainer:
    return plain(args, OwnStep)


def seq2seq(args: TrainingArguments) -> Trainer:
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(
        T5Config(vocab_size=VOCAB, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0)
    )
    model.accepts_loss_kwargs = False
    values = {f.name: getattr(args, f.name) for f in args.__dataclass_fields__.values() if f.init}
    values.pop("gradient_checkpointing", None)
    return Seq2SeqTrainer(
        model=model, args=Seq2SeqTrainingArguments(**values), train_dataset=Sequences(), data_collator=pad
    )


class Images(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        return {"pixel_values": torch.randn(1, 8, 8, generator=generator), "labels": index % 3}


def images(args: TrainingArguments) -> Trainer:
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=8, patch_size=4,
        num_channels=1, num_labels=3,
    )  # fmt: skip
    model = ViTForImageClassification(config)
    model.accepts_loss_kwargs = False
    return Trainer(model=model, args=args, train_dataset=Images())


def lora(args: TrainingArguments) -> Trainer:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(causal_model(), LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    return Trainer(model=model, args=args, train_dataset=Sequences(), data_collator=pad)


def sft(args: TrainingArguments) -> Trainer:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    values = {f.name: getattr(args, f.name) for f in args.__dataclass_fields__.values() if f.init}
    values.pop("gradient_checkpointing", None)
    config = SFTConfig(**values, max_length=16, dataset_kwargs={"skip_prepare_dataset": True})
    data = Dataset.from_list([sample(index) for index in range(96)])
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "<s>": 1, "</s>": 2, **{f"w{i}": i for i in range(3, VOCAB)}}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<pad>")),
        pad_token="<pad>", eos_token="</s>", bos_token="<s>",
    )  # fmt: skip
    return SFTTrainer(model=causal_model(), args=config, train_dataset=data, processing_class=tokenizer)


class Stops(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        control.should_training_stop = state.global_step >= 3
        return control


class Raises(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        raise RuntimeError("this callback wants no second step")


class Writes(TrainerCallback):
    """Leaves a mark in the folder of the user's own, so that a test sees that it ran."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        with Path("marks.txt").open("a") as file:
            file.write("step\n")


def stopping(args: TrainingArguments) -> Trainer:
    return plain(args, callbacks=[Stops()])


def raising(args: TrainingArguments) -> Trainer:
    return plain(args, callbacks=[Raises()])


def marking(args: TrainingArguments) -> Trainer:
    return plain(args, callbacks=[Writes()])


def early_stopping(args: TrainingArguments) -> Trainer:
    return plain(args, callbacks=[EarlyStoppingCallback(early_stopping_patience=1)])


class SavesLittle(Trainer):
    """A file that it saves may have so many bytes, as on a disk that is nearly full."""

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["MOST_BYTES"]), unlimited[1]))
        try:
            super()._save_checkpoint(*args, **kwargs)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)


def saves_little(args: TrainingArguments) -> Trainer:
    return plain(args, SavesLittle)


class KilledWorker(Trainer):
    """A data loader worker of its evaluation, which lasts, is killed by somebody."""

    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        if len(dataloader) == 1:  # what a trial begins with: its workers have ended when there is something to kill
            return super().evaluation_loop(dataloader, *args, **kwargs)
        iterator = iter(dataloader)
        next(iterator)  # the workers begin with it
        os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)
        for _ in iterator:
            time.sleep(0.1)
        time.sleep(600)
        return None


def killed_worker(args: TrainingArguments) -> Trainer:
    return plain(args, KilledWorker)


def own_optimizer(args: TrainingArguments) -> Trainer:
    model = causal_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return Trainer(model=model, args=args, train_dataset=Sequences(), data_collator=pad, optimizers=(optimizer, None))


def nan_loss(args: TrainingArguments) -> Trainer:
    trainer = plain(args)
    with torch.no_grad():
        trainer.model.lm_head.weight[0, 0] = float("nan")
    return trainer


class Greedy(Trainer):
    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        self.hoard = torch.ones(2**30)
        return super().compute_loss(model, inputs, return_outputs, **kwargs)


def greedy(args: TrainingArguments) -> Trainer:
    return plain(args, Greedy)


def lost_arguments(args: TrainingArguments) -> Trainer:
    return plain(TrainingArguments(output_dir=args.output_dir, use_cpu=True, per_device_train_batch_size=3))


def no_trainer(args: TrainingArguments) -> Any:
    return "a string"


def unsupported(args: TrainingArguments) -> Trainer:
    raise ImportError("this optimizer needs a package that is not there")


class Labelled(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": [3 + index % 50] * 6, "attention_mask": [1] * 6, "labels": index % 2}


def classifier(args: TrainingArguments) -> Trainer:
    from transformers import BertConfig, BertForSequenceClassification, default_data_collator

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCAB, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    model = BertForSequenceClassification(config)
    return Trainer(model=model, args=args, train_dataset=Labelled(), data_collator=default_data_collator)


def corrected_classifier(args: TrainingArguments) -> Trainer:
    trainer = classifier(args)
    trainer.model.accepts_loss_kwargs = False
    return Trainer(
        model=trainer.model, args=args, train_dataset=trainer.train_dataset, data_collator=trainer.data_collator
    )


class Reports(Writes):
    """Reports to a service, as those of transformers.integrations do."""


Reports.__module__ = "transformers.integrations.integration_utils"


class EvaluatesAloud(Trainer):
    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        with Path("marks.txt").open("a") as file:
            file.write("evaluated\n")
        return super().evaluate(*args, **kwargs)


def reporting(args: TrainingArguments) -> Trainer:
    return plain(args, callbacks=[Reports()])


def evaluating(args: TrainingArguments) -> Trainer:
    return plain(args, EvaluatesAloud)


def classifier_stream(args: TrainingArguments) -> Trainer:
    trainer = classifier(args)

    class LabelledStream(torch.utils.data.IterableDataset):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            return (Labelled()[index] for index in range(64))

    trainer.train_dataset = LabelledStream()
    return trainer


class GoesWrong(TrainerCallback):
    """In its fifth step, after the warm-up of a heat, as the environment of the candidate says."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        how = os.environ.get("GOES_WRONG", "") if state.global_step == 4 else ""
        if how == "raise":
            raise RuntimeError("this candidate wants no fifth step")
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        mark = Path(os.environ.get("GOES_WRONG_IN", ".")) / "killed"
        if how.endswith("once") and not mark.exists():
            mark.touch()
            os.kill(multiprocessing.active_children()[0].pid if "worker" in how else os.getpid(), signal.SIGKILL)
            time.sleep(600)
        if how == "hang":
            time.sleep(600)
        if how == "memory":
            torch.ones(2**33)
        if how == "stop":
            control.should_training_stop = True


def going_wrong(args: TrainingArguments) -> Trainer:
    return plain(args, callbacks=[GoesWrong()])


def spin() -> None:
    """A thread that never rests, as long as its process runs."""

    def run() -> None:
        while True:
            pass

    threading.Thread(target=run, daemon=True).start()


class SpinningInWorkers(Sequences):
    def __getitem__(self, index: int) -> dict[str, list[int]]:
        if threading.active_count() == 1:
            spin()
        return super().__getitem__(index)


def spinning(args: TrainingArguments) -> Trainer:
    spin()
    return plain(args, train_dataset=SpinningInWorkers())


class Slow(Trainer):
    """Two seconds for each micro-batch, as a precision that the processor has to emulate takes."""

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        time.sleep(2.0)
        return super().training_step(*args, **kwargs)


def slow(args: TrainingArguments) -> Trainer:
    return plain(args, Slow)
