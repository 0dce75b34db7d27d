"""A workload without code to its Trainer: model, data and collator put together."""

from typing import Any, NamedTuple

from torch.utils.data import Dataset, Subset
from transformers import PreTrainedConfig, PreTrainedTokenizerBase, Trainer, TrainingArguments, set_seed

from perftune.records.probe import ModelWorkload, RealData, SyntheticData, Task
from perftune.workloads.tasks.collate import PadCollator, collate_images
from perftune.workloads.tasks.data import HELD_OUT, load_rows
from perftune.workloads.tasks.encode import Encode, TextEncoder, image_encoder, text_encode
from perftune.workloads.tasks.labels import find_labels
from perftune.workloads.tasks.loss import mean_over_items
from perftune.workloads.tasks.model import Sources, load_config, load_model, load_tokenizer, max_positions
from perftune.workloads.tasks.samples import Sample, Samples
from perftune.workloads.tasks.synthetic import synthetic_samples

CLASSIFICATION = (Task.SEQUENCE_CLASSIFICATION, Task.TOKEN_CLASSIFICATION, Task.IMAGE_CLASSIFICATION)


class Parts(NamedTuple):
    """What the data decide."""

    config: PreTrainedConfig
    train: Dataset[Sample]
    held_out: Dataset[Sample]
    tokenizer: PreTrainedTokenizerBase | None = None


def _synthetic_parts(sources: Sources, data: SyntheticData) -> Parts:
    task = sources.workload.task
    names = tuple(f"class {number}" for number in range(data.num_classes)) if task in CLASSIFICATION else None
    config = load_config(sources, names)
    num_held_out = max(1, round(HELD_OUT * data.num_samples))
    enough = data.model_copy(update={"num_samples": data.num_samples + num_held_out})
    samples = synthetic_samples(enough, task, config)
    held_out = range(data.num_samples, data.num_samples + num_held_out)
    return Parts(config, Subset(samples, range(data.num_samples)), Subset(samples, held_out))


def _real_parts(sources: Sources, data: RealData) -> Parts:
    task = sources.workload.task
    tokenizer = load_tokenizer(sources) if task is not Task.IMAGE_CLASSIFICATION else None
    rows = load_rows(data, task)
    labels = find_labels(rows, task) if task in CLASSIFICATION else None
    config = load_config(sources, labels.names if labels else None, tokenizer)
    encode: Encode
    if tokenizer is None:
        assert labels is not None
        encode = image_encoder(rows.columns, labels, config)
    else:
        max_length = min(data.max_length, max_positions(config, tokenizer) or data.max_length)
        encode = text_encode(task, TextEncoder(tokenizer, rows.columns, max_length), labels)
    return Parts(config, Samples(rows.train, encode), Samples(rows.held_out, encode), tokenizer)


def build_from_model(
    workload: ModelWorkload,
    args: TrainingArguments,
    *,
    attn_implementation: str | None,
    trust_remote_code: bool,
    seed: int,
) -> Trainer:
    """Build the Trainer of a workload that is declared without code.

    Args:
        workload: model or inline config, task, data.
        args: handed on to the Trainer.
        attn_implementation: None leaves the choice to transformers.
        trust_remote_code: whether code from the hub may run.
        seed: draws the weights that are not pretrained. Synthetic data have a seed of their own.

    Raises:
        WorkloadError: model, tokenizer, data or columns are missing or do not go together.
    """
    sources = Sources(workload, attn_implementation, trust_remote_code)
    data = workload.data
    parts = _synthetic_parts(sources, data) if isinstance(data, SyntheticData) else _real_parts(sources, data)
    set_seed(seed)
    model = load_model(sources, parts.config)
    collator: Any = collate_images
    if workload.task is not Task.IMAGE_CLASSIFICATION:
        collator = PadCollator(workload.task, model, parts.tokenizer.mask_token_id if parts.tokenizer else None)
    smoothing = args.label_smoothing_factor
    return Trainer(
        model=model,
        args=args,
        train_dataset=parts.train,
        eval_dataset=parts.held_out,
        data_collator=collator,
        processing_class=parts.tokenizer,
        # Causal language models of transformers average over the whole optimizer step by themselves.
        compute_loss_func=None if workload.task is Task.CAUSAL_LM else mean_over_items(smoothing),
    )
