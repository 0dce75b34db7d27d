"""Synthetic data keep their stated distribution; batches are padded as their task needs; big data are read lazily."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from perftune.errors import WorkloadError
from perftune.records.probe import SyntheticData, Task
from perftune.workloads.tasks import samples as samples_module
from perftune.workloads.tasks.collate import PadCollator
from perftune.workloads.tasks.loss import IGNORED, mean_over_items
from perftune.workloads.tasks.model import max_positions
from perftune.workloads.tasks.samples import Part, Samples
from perftune.workloads.tasks.synthetic import draw_lengths, synthetic_samples

TINY = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 40}


def test_fixed_lengths_are_all_the_mean() -> None:
    assert set(draw_lengths(SyntheticData(distribution="fixed", mean_length=77, num_samples=50))) == {77}


@pytest.mark.parametrize("sigma", [0.3, 0.8])
def test_lognormal_lengths_have_the_stated_mean_and_spread(sigma: float) -> None:
    data = SyntheticData(num_samples=40_000, mean_length=200, sigma=sigma, max_length=100_000)
    lengths = draw_lengths(data)
    assert lengths.mean() == pytest.approx(200, rel=0.02)
    assert np.log(lengths).std() == pytest.approx(sigma, rel=0.03)


def test_uniform_lengths_have_the_stated_mean_and_bounds() -> None:
    lengths = draw_lengths(SyntheticData(num_samples=40_000, distribution="uniform", mean_length=100))
    assert lengths.mean() == pytest.approx(100, rel=0.02)
    assert (lengths.min(), lengths.max()) == (2, 199)


def test_long_lengths_are_cut_to_what_probe_and_model_allow() -> None:
    data = SyntheticData(num_samples=1000, mean_length=100, max_length=120)
    assert draw_lengths(data).max() == 120
    assert draw_lengths(data, longest=64).max() == 64


def test_the_same_seed_draws_the_same_lengths() -> None:
    data = SyntheticData(num_samples=100)
    assert (draw_lengths(data) == draw_lengths(data)).all()
    assert (draw_lengths(data) != draw_lengths(data.model_copy(update={"seed": 1}))).any()


@pytest.mark.parametrize("task", [task for task in Task if task is not Task.IMAGE_CLASSIFICATION])
def test_synthetic_tokens_lie_in_the_vocabulary_and_are_not_special(task: Task) -> None:
    config = AutoConfig.for_model("bert", **TINY, pad_token_id=0)
    data = SyntheticData(num_samples=50, mean_length=10, max_length=30, num_classes=3)
    samples = synthetic_samples(data, task, config)
    tokens = {token for index in range(len(samples)) for token in samples[index]["input_ids"]}
    assert tokens == set(range(1, 40))
    assert [len(samples[index]["input_ids"]) for index in range(50)] == list(draw_lengths(data))


def test_synthetic_images_are_the_same_each_time_and_end() -> None:
    config = AutoConfig.for_model("vit", image_size=8, num_channels=1)
    samples = synthetic_samples(SyntheticData(num_samples=5), Task.IMAGE_CLASSIFICATION, config)
    assert torch.equal(samples[3]["pixel_values"], samples[3]["pixel_values"])
    assert not torch.equal(samples[3]["pixel_values"], samples[1]["pixel_values"])
    assert samples[3]["pixel_values"].shape == (1, 8, 8)
    assert len(list(samples)) == 5


def test_synthetic_images_of_a_size_that_the_model_does_not_take_are_refused() -> None:
    config = AutoConfig.for_model("vit", image_size=8)
    with pytest.raises(WorkloadError, match=r"data.image_size: 64 does not go with the model, which takes 8 × 8"):
        synthetic_samples(SyntheticData(image_size=64), Task.IMAGE_CLASSIFICATION, config)


def test_roberta_takes_fewer_tokens_than_it_has_positions() -> None:
    assert max_positions(AutoConfig.for_model("roberta", max_position_embeddings=514)) == 512
    assert max_positions(AutoConfig.for_model("bert", max_position_embeddings=512)) == 512


def test_causal_batch_is_padded_and_padding_has_no_label() -> None:
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **TINY, pad_token_id=39))
    batch = PadCollator(Task.CAUSAL_LM, model)([{"input_ids": [5, 6, 7]}, {"input_ids": [8]}])
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 39, 39]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[5, 6, 7], [8, IGNORED, IGNORED]]


def test_masked_batch_hides_fifteen_percent_and_asks_for_those() -> None:
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model("bert", **TINY))
    torch.manual_seed(0)
    ids = [[5] * 400 for _ in range(50)]
    batch = PadCollator(Task.MASKED_LM, model, mask_token_id=3)([{"input_ids": row} for row in [*ids, [5] * 10]])
    asked = batch["labels"] != IGNORED
    assert not (asked & (batch["attention_mask"] == 0)).any()
    assert asked.sum() / batch["attention_mask"].sum() == pytest.approx(0.15, abs=0.01)
    assert (batch["input_ids"][asked] == 3).float().mean() == pytest.approx(0.8, abs=0.03)
    assert (batch["labels"][asked] == 5).all()


def test_masked_batch_always_has_something_to_guess() -> None:
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model("bert", **TINY))
    collate = PadCollator(Task.MASKED_LM, model)
    assert all((collate([{"input_ids": [5, 6]}])["labels"] != IGNORED).any() for _ in range(50))


def test_seq2seq_batch_has_decoder_inputs_shifted_from_the_labels() -> None:
    config = AutoConfig.for_model(
        "t5", d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, vocab_size=40, decoder_start_token_id=0
    )
    model = AutoModelForSeq2SeqLM.from_config(config)
    collate = PadCollator(Task.SEQ2SEQ, model)
    batch = collate([{"input_ids": [5, 6, 7], "labels": [9, 1]}, {"input_ids": [8], "labels": [4, 3, 1]}])
    assert batch["labels"].tolist() == [[9, 1, IGNORED], [4, 3, 1]]
    assert batch["decoder_input_ids"].tolist() == [[0, 9, 1], [0, 4, 3]]


def test_loss_is_the_mean_over_the_items_of_the_step() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1, 2, IGNORED], [4, IGNORED, IGNORED]])
    compute = mean_over_items()
    exact = torch.nn.functional.cross_entropy(logits.view(-1, 5), labels.view(-1))
    assert compute({"logits": logits}, labels) == pytest.approx(exact.item())
    assert compute({"logits": logits}, labels, num_items_in_batch=6) == pytest.approx(exact.item() / 2)


def test_rows_are_encoded_once_and_lazily_when_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples_module, "MAX_EAGER", 3)
    calls: list[int] = []

    def encode(rows: list[dict[str, int]]) -> list[dict[str, int]]:
        calls.append(len(rows))
        return [{"double": 2 * row["value"]} for row in rows]

    few = Samples([{"value": value} for value in range(3)], encode)
    assert calls == [3]
    many = Samples(Part([{"value": value} for value in range(10)], range(5, 10)), encode)
    assert (calls, len(many)) == ([3], 5)
    assert (few[2], many[1], many[1]) == ({"double": 4}, {"double": 12}, {"double": 12})
    assert calls == [3, 1]
