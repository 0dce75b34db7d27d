"""A workload that cannot be built says what is wrong, where, and what to do."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

from perftune.errors import WorkloadError
from perftune.records.probe import ModelWorkload, RealData, SyntheticData, Task
from perftune.workloads.tasks import build_from_model

PROBE_DATA = Path(__file__).parents[2] / "probes" / "data"
TOKENIZER = str(PROBE_DATA / "shakespeare_tokenizer")
TINY = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
BERT = {"model_type": "bert", **TINY}


def message(tmp_path: Path, **workload: Any) -> str:
    """What the user reads."""
    fields = {"task": Task.SEQUENCE_CLASSIFICATION, "data": SyntheticData(num_samples=4), "config": BERT} | workload
    args = TrainingArguments(output_dir=str(tmp_path / "output"), use_cpu=True, report_to=[])
    with pytest.raises(WorkloadError) as caught:
        build_from_model(ModelWorkload(**fields), args, attn_implementation=None, trust_remote_code=False, seed=0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def on_rows(tmp_path: Path, rows: list[dict[str, Any]], **workload: Any) -> str:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = RealData(path=str(path), **workload.pop("data", {}))
    return message(tmp_path, data=data, **({"tokenizer": TOKENIZER} | workload))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("offline")
def test_a_model_that_is_nowhere(tmp_path: Path) -> None:
    text = message(tmp_path, model="nobody/no-such-model", config=None)
    assert text.startswith("model: 'nobody/no-such-model' is not a local folder")
    assert "no network" in text
    assert "the id is wrong" in text


@pytest.mark.usefixtures("offline")
def test_a_data_set_that_is_nowhere(tmp_path: Path) -> None:
    text = message(tmp_path, tokenizer=TOKENIZER, data=RealData(id="nobody/no-such-data"))
    assert "data.id: the split 'train' of 'nobody/no-such-data' could not be loaded" in text
    assert "no network" in text


@pytest.mark.usefixtures("offline")
def test_a_tokenizer_that_is_nowhere(tmp_path: Path) -> None:
    text = on_rows(tmp_path, [{"text": "a", "label": 0}] * 2, tokenizer="nobody/no-such-tokenizer")
    assert text.startswith("tokenizer: 'nobody/no-such-tokenizer' is not a local folder")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    assert message(tmp_path, model=str(tmp_path), config=None).startswith(f"model: {str(tmp_path)!r} is not a local")


def test_no_tokenizer(tmp_path: Path) -> None:
    text = on_rows(tmp_path, [{"text": "a", "label": 0}] * 2, tokenizer=None)
    assert text.startswith("tokenizer: an inline config with text data needs one; write `tokenizer:")


def test_a_tokenizer_larger_than_the_vocabulary(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": index % 2} for index in range(8)]
    text = on_rows(tmp_path, rows, config=BERT | {"vocab_size": 100})
    assert text.startswith("config.vocab_size: 100 is less than the 2000 tokens of the tokenizer")


@pytest.mark.parametrize(
    ("data", "wish"), [({"text_column": "body"}, "no column 'body'"), ({}, "none of the columns text")]
)
def test_a_column_that_is_not_there(tmp_path: Path, data: dict[str, str], wish: str) -> None:
    text = on_rows(tmp_path, [{"review": "good", "label": 1}, {"review": "bad", "label": 0}], data=data)
    assert text.startswith(f"data.text_column: the data have {wish}")
    assert text.endswith("They have: review, label. Name the one that is meant, such as `text_column: review`")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0.5, 1.5], "a label is a text or a whole number"),
        ([None, 1], "sample 0 has None"),
        (["a", "a", "a"], "1 different value (a)"),
        (["a", "b", "c"], "the label 'c' is in the evaluation data and not in the training data; known are a, b"),
    ],
)
def test_labels_that_are_no_classes(tmp_path: Path, labels: list[Any], expected: str) -> None:
    text = on_rows(tmp_path, [{"text": "a", "label": label} for label in labels])
    assert text.startswith("data.label_column: ")
    assert expected in text


@pytest.mark.parametrize(
    ("tags", "expected"),
    [(["x"], "2 words in column 'tokens' and 1 labels in column 'tags'"), ("xy", "needs a list of labels")],
)
def test_tags_that_do_not_go_with_the_words(tmp_path: Path, tags: Any, expected: str) -> None:
    rows = [{"tokens": ["a", "b"], "tags": ["x", "y"]}, {"tokens": ["a", "b"], "tags": tags}] * 2
    assert expected in on_rows(tmp_path, rows, task=Task.TOKEN_CLASSIFICATION)


@pytest.mark.parametrize("name", ["missing.jsonl", "data.xlsx"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "data.xlsx").write_text("")
    text = message(tmp_path, tokenizer=TOKENIZER, data=RealData(path=str(tmp_path / name)))
    assert text.startswith("data.path: ")
    assert name in text


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('{"text": "a", "label": 1}\n{"text": \n')
    text = message(tmp_path, tokenizer=TOKENIZER, data=RealData(path=str(tmp_path / "data.jsonl")))
    assert "data.jsonl, line 2 is no JSON" in text


def test_a_split_of_a_local_file(tmp_path: Path) -> None:
    text = on_rows(tmp_path, [{"text": "a", "label": 1}] * 3, data={"eval_split": "test"})
    assert text.startswith("data.eval_split: a local file has no splits")


def test_too_few_samples(tmp_path: Path) -> None:
    assert "has 1 sample; at least 2" in on_rows(tmp_path, [{"text": "a", "label": 1}])


def test_both_id_and_path(tmp_path: Path) -> None:
    text = message(tmp_path, tokenizer=TOKENIZER, data=RealData(path="a.jsonl", id="b"))
    assert text.startswith("data: give either `id:`")


def test_neither_model_nor_config(tmp_path: Path) -> None:
    assert message(tmp_path, config=None).startswith("give either `model:`")


def test_a_model_type_with_a_typing_error(tmp_path: Path) -> None:
    text = message(tmp_path, config={"model_type": "lama"})
    assert text.startswith("config.model_type: 'lama' is none that transformers knows; did you mean")
    assert "llama" in text


def test_a_config_entry_with_a_typing_error(tmp_path: Path) -> None:
    text = message(tmp_path, config=BERT | {"hiden_size": 8})
    assert text == "config.hiden_size: a bert configuration has no such entry; did you mean hidden_size or hidden_act?"


def test_a_task_that_the_model_has_no_head_for(tmp_path: Path) -> None:
    text = message(tmp_path, task=Task.IMAGE_CLASSIFICATION)
    assert text.startswith("task: image-classification does not go with a bert model")
    assert "masked-lm, sequence-classification, token-classification" in text


def test_a_tokenizer_without_a_mask(tmp_path: Path) -> None:
    saved = json.loads((Path(TOKENIZER) / "tokenizer_config.json").read_text())
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    del saved["mask_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(saved))
    (folder / "tokenizer.json").write_text((Path(TOKENIZER) / "tokenizer.json").read_text())
    text = on_rows(tmp_path, [{"text": "a"}] * 2, task=Task.MASKED_LM, tokenizer=str(folder))
    assert "has no mask token, which task masked-lm needs" in text


def test_pixels_that_are_no_image(tmp_path: Path) -> None:
    vit = {"model_type": "vit", **TINY, "patch_size": 4, "image_size": 8}
    rows = [{"image": [1, 2, 3], "label": index % 2} for index in range(8)]
    text = on_rows(tmp_path, rows, config=vit, task=Task.IMAGE_CLASSIFICATION)
    assert "an image has 1 dimensions" in text
