"""Fine-tune the pretrained MiniLM to place a docstring near its function, with a Trainer subclass of its own."""

from typing import Any, NamedTuple

import torch
from minilm import model_folder
from stdlib_text import Documented, documented
from torch.nn.functional import cosine_similarity
from transformers import (
    AutoModel,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

MAX_LENGTH = 24
NUM_TRIPLETS = 2400
NUM_EVAL = 150
MARGIN = 0.3
WORD_DROPOUT = 0.1
PARTS = ("anchor", "positive", "negative")


class Triplet(NamedTuple):
    """A signature, the docstring that belongs to it, and one that does not."""

    anchor: str
    positive: str
    negative: str


class TripletCollator:
    """Tokenizes triplets: one padded group of tensors for each of their parts."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def __call__(self, triplets: list[Triplet]) -> dict[str, torch.Tensor]:
        """Triplets to ``<part>_input_ids`` and ``<part>_attention_mask``."""
        batch = {}
        for part in PARTS:
            texts = [getattr(triplet, part) for triplet in triplets]
            encoded = self.tokenizer(
                texts, padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt", verbose=False
            )
            batch |= {f"{part}_{name}": encoded[name] for name in ("input_ids", "attention_mask")}
        return batch


class TripletTrainer(Trainer):
    """Trains sentence vectors with a triplet margin loss, and drops words of the anchors while it trains."""

    # The loss below is a plain mean over the micro-batch: it has to be divided by the accumulation steps.
    loss_is_scaled_for_ga = False

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,  # noqa: ARG002 (the Trainer passes it by name)
    ) -> Any:
        """Mean over the micro-batch of ``max(0, margin - cos(anchor, positive) + cos(anchor, negative))``."""
        vectors = [self._sentence_vectors(model, inputs, part) for part in PARTS]
        anchor, positive, negative = vectors
        loss = (MARGIN - cosine_similarity(anchor, positive) + cosine_similarity(anchor, negative)).clamp(min=0).mean()
        return (loss, {"vectors": anchor}) if return_outputs else loss

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """As the Trainer does it, with some words of the anchors masked."""
        ids = inputs["anchor_input_ids"]
        dropped = (torch.rand(ids.shape, device=ids.device) < WORD_DROPOUT) & (inputs["anchor_attention_mask"] == 1)
        assert isinstance(self.processing_class, PreTrainedTokenizerBase)
        inputs["anchor_input_ids"] = ids.masked_fill(dropped, self.processing_class.mask_token_id)
        return super().training_step(model, inputs, *args, **kwargs)

    @staticmethod
    def _sentence_vectors(model: torch.nn.Module, inputs: dict[str, torch.Tensor], part: str) -> torch.Tensor:
        mask = inputs[f"{part}_attention_mask"]
        hidden = model(input_ids=inputs[f"{part}_input_ids"], attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


class UnfreezeEmbeddings(TrainerCallback):
    """Leaves the word embeddings as they are for the first epoch."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.embeddings = model.get_input_embeddings()

    def on_epoch_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Freeze in the first epoch, train afterwards."""
        self.embeddings.requires_grad_(requires_grad=(state.epoch or 0) >= 1)


def make_triplets(items: list[Documented]) -> list[Triplet]:
    """Each function with its own docstring's summary and that of another function of the same topic."""
    last_of_topic: dict[str, str] = {item.topic: item.summary for item in items}
    triplets = []
    for item in items:
        triplets.append(Triplet(item.signature, item.summary, last_of_topic[item.topic]))
        last_of_topic[item.topic] = item.summary
    return triplets


def build(args: TrainingArguments) -> Trainer:
    """The Trainer of this workload."""
    args.remove_unused_columns = False
    # There are no labels: these make Trainer.evaluate ask compute_loss, and keep nothing but its answer.
    args.label_names = ["negative_input_ids"]
    args.prediction_loss_only = True
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    model = AutoModel.from_pretrained(model_folder(), add_pooling_layer=False)
    triplets = make_triplets(documented()[:NUM_TRIPLETS])
    return TripletTrainer(
        model=model,
        args=args,
        train_dataset=triplets[NUM_EVAL:],
        eval_dataset=triplets[:NUM_EVAL],
        data_collator=TripletCollator(tokenizer),
        processing_class=tokenizer,
        callbacks=[UnfreezeEmbeddings(model)],
    )
