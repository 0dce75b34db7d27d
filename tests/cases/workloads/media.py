"""Images, sound and graphs: batches that are not rows of tokens."""

import dataclasses
from typing import Any

import torch
from made import Rows, image_row, vit
from torch import nn
from torch.nn import functional
from transformers import Trainer, TrainingArguments, Wav2Vec2Config, Wav2Vec2ForCTC


def vision(args: TrainingArguments) -> Trainer:
    return Trainer(vit(), args, train_dataset=Rows(image_row), eval_dataset=Rows(image_row, 16))


def mixed_up(args: TrainingArguments) -> Trainer:
    """Mixup in the collator: each image is mixed with another of its micro-batch, by a number that is drawn."""

    def collate(samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        pixels = torch.stack([one["pixel_values"] for one in samples])
        share = float(torch.rand(()))
        labels = torch.tensor([one["labels"] for one in samples])
        return {"pixel_values": share * pixels + (1 - share) * pixels.roll(1, 0), "labels": labels}

    return Trainer(vit(), args, train_dataset=Rows(image_row), data_collator=collate)


def sound(index: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(index)
    return {"input_values": torch.randn(240, generator=generator), "labels": [3 + index % 8, 4 + index % 5]}


def _ctc(args: TrainingArguments, reduction: str, divided: bool) -> Trainer:
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=16, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        conv_dim=(8, 8), conv_kernel=(5, 3), conv_stride=(4, 2), num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2, feat_extract_norm="layer", mask_time_prob=0.0, layerdrop=0.0,
        hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, feat_proj_dropout=0.0, final_dropout=0.0,
        ctc_loss_reduction=reduction, ctc_zero_infinity=True,
    )  # fmt: skip
    model = Wav2Vec2ForCTC(config)
    if divided:
        model.accepts_loss_kwargs = False
    return Trainer(model, args, train_dataset=Rows(sound))


def ctc_sum(args: TrainingArguments) -> Trainer:
    """The default of Wav2Vec2: sums over the micro-batches of a step are added up, as they should be."""
    return _ctc(args, "sum", divided=False)


def ctc_sum_divided(args: TrainingArguments) -> Trainer:
    return _ctc(args, "sum", divided=True)


def ctc_mean(args: TrainingArguments) -> Trainer:
    return _ctc(args, "mean", divided=True)


def ctc_mean_undivided(args: TrainingArguments) -> Trainer:
    return _ctc(args, "mean", divided=False)


class Graph:
    """As PyG's ``Data`` and ``Batch``: tensors as attributes, nodes of all graphs in one dimension."""

    def __init__(self, **tensors: torch.Tensor) -> None:
        self.__dict__.update(tensors)

    def to(self, device: Any) -> "Graph":
        return Graph(**{name: value.to(device) for name, value in self.__dict__.items()})


def graph(index: int) -> Graph:
    generator = torch.Generator().manual_seed(index)
    nodes = 3 + index % 5
    edges = torch.randint(0, nodes, (2, 2 * nodes), generator=generator)
    return Graph(x=torch.randn(nodes, 4, generator=generator), edge_index=edges, y=torch.tensor([index % 2]))


def batched(graphs: list[Graph]) -> dict[str, Graph]:
    starts = torch.tensor([0] + [len(one.x) for one in graphs[:-1]]).cumsum(0)
    return {
        "graphs": Graph(
            x=torch.cat([one.x for one in graphs]),
            edge_index=torch.cat([one.edge_index + start for one, start in zip(graphs, starts, strict=True)], 1),
            batch=torch.cat([torch.full((len(one.x),), number) for number, one in enumerate(graphs)]),
            y=torch.cat([one.y for one in graphs]),
        )
    }


class Convolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.near, self.out = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, graphs: Graph) -> dict[str, torch.Tensor]:
        hidden = self.near(graphs.x)
        source, target = graphs.edge_index
        hidden = torch.relu(hidden.index_add(0, target, hidden[source]))
        pooled = hidden.new_zeros(len(graphs.y), 8).index_add(0, graphs.batch, hidden)
        return {"loss": functional.cross_entropy(self.out(pooled), graphs.y)}


def graphs(args: TrainingArguments) -> Trainer:
    args.remove_unused_columns = False
    return Trainer(Convolution(), args, train_dataset=Rows(graph), data_collator=batched)


@dataclasses.dataclass
class Pair:
    pixels: torch.Tensor
    label: torch.Tensor


class Data(Trainer):
    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(pixel_values=inputs["pair"].pixels, labels=inputs["pair"].label)
        return (outputs.loss, outputs) if return_outputs else outputs.loss


def data_classes(args: TrainingArguments) -> Trainer:
    def collate(samples: list[dict[str, Any]]) -> dict[str, Pair]:
        pixels = torch.stack([one["pixel_values"] for one in samples])
        return {"pair": Pair(pixels, torch.tensor([one["labels"] for one in samples]))}

    return Data(vit(), args, train_dataset=Rows(image_row), data_collator=collate)
