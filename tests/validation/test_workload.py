"""The Trainer of a row has the row's model, and trains; on the meta device it is made without weights."""

import json

import pytest
import torch
from accelerate import init_empty_weights
from transformers import TrainingArguments

from benchmarks.validation import workload
from benchmarks.validation.models import MODELS, PublishedModel
from benchmarks.validation.rows import is_in_trainer, load_rows, usable
from benchmarks.validation.workload import ROW_VARIABLE, build, build_model, training_arguments
from perftune.records.candidate import CHECKPOINTING
from perftune.workloads.arguments import field_names, installed_name

USABLE = {row["id"]: row for row in load_rows() if usable(row)}
# PEFT asks for names that transformers calls old, and bitsandbytes says what it does on a CPU.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

QLORA, LORA, CLASSIFIER = "fitcheck-t4-013", "fitcheck-t4-018", "hf-docs-perf-train-gpu-one-003"
TINY = {
    "smollm2-135m": {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "vocab_size": 96},
    "qwen2.5-1.5b": {"hidden_size": 96, "num_hidden_layers": 2, "intermediate_size": 128, "vocab_size": 96},
    "smollm2-360m": {"hidden_size": 60, "num_hidden_layers": 2, "intermediate_size": 128, "vocab_size": 96},
    "bert-large": {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "vocab_size": 96},
    "t5-small": {"d_model": 64, "d_ff": 64, "num_layers": 2, "vocab_size": 96},
}
HEADS = {"smollm2-135m": (4, 2), "qwen2.5-1.5b": (12, 2)}


@pytest.fixture
def tiny(monkeypatch):
    for key, sizes in TINY.items():
        heads = dict(zip(("num_attention_heads", "num_key_value_heads"), HEADS.get(key, ()), strict=False))
        small = PublishedModel(0, MODELS[key].config | sizes | heads, MODELS[key].task)
        monkeypatch.setitem(workload.MODELS, key, small)


def train(row, tmp_path, monkeypatch):
    monkeypatch.setenv(ROW_VARIABLE, json.dumps(row))
    arguments = training_arguments(row) | {"output_dir": str(tmp_path), "max_steps": 2, "use_cpu": True}
    arguments |= {"report_to": [], "save_strategy": "no", "disable_tqdm": True}
    trainer = build(TrainingArguments(**arguments))
    result = trainer.train()
    assert result.global_step == 2
    return trainer


def test_qlora_trains_adapters_alone(tiny, tmp_path, monkeypatch):
    row = USABLE[QLORA] | {"seq_len": 8, "model": "qwen2.5-1.5b", "compute_dtype": "bf16"}
    model = train(row, tmp_path, monkeypatch).model
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(trained) == 2 * 2 * 4
    assert all("lora_" in name for name in trained)
    dtypes = {name: parameter.dtype for name, parameter in model.named_parameters()}
    assert dtypes["base_model.model.model.layers.0.mlp.up_proj.weight"] == torch.uint8
    assert {dtype for name, dtype in dtypes.items() if "norm" in name or "embed" in name} == {torch.float32}


def test_lora_keeps_the_base_in_half_precision(tiny, tmp_path, monkeypatch):
    row = USABLE[LORA] | {"seq_len": 8, "weights_dtype": "bf16"}
    model = train(row, tmp_path, monkeypatch).model
    dtypes = {(("lora_" in name), parameter.dtype) for name, parameter in model.named_parameters()}
    assert dtypes == {(True, torch.float32), (False, torch.bfloat16)}


def test_classifier_trains_with_an_optimizer_that_loops(tiny, tmp_path, monkeypatch):
    trainer = train(USABLE[CLASSIFIER] | {"seq_len": 8}, tmp_path, monkeypatch)
    assert trainer.optimizer.optimizer.defaults["foreach"] is False
    assert trainer.model.is_gradient_checkpointing
    assert trainer.model.config.num_labels == 2


def test_t5_has_targets_of_their_own_length(tiny, tmp_path, monkeypatch):
    row = USABLE["milabench-027"] | {"seq_len": 8, "target_len": 4, "amp": None}
    trainer = train(row, tmp_path, monkeypatch)
    assert trainer.train_dataset[0]["input_ids"].shape == (8,)
    assert trainer.train_dataset[0]["labels"].shape == (4,)


@pytest.mark.parametrize("key", ["fms-acceleration-073", QLORA, LORA, "fms-acceleration-097", "qwen-readme-031"])
def test_full_size_is_made_without_weights(key):
    with init_empty_weights(include_buffers=False):
        model = build_model(USABLE[key])
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    quantised = [module for module in model.modules() if type(module).__name__ == "Linear4bit"]
    assert bool(quantised) == (USABLE[key]["weights_dtype"] == "nf4")


def test_saved_modules_are_trained(monkeypatch):
    with init_empty_weights(include_buffers=False):
        model = build_model(USABLE["qwen-readme-031"])
    adapters = 32 * 64 * (4 * (4096 + 4096) + 3 * (4096 + 11008))
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert trained == adapters + 2 * 151936 * 4096


def test_nf4_upcast_follows_the_row():
    with init_empty_weights(include_buffers=False):
        kept, upcast = (build_model(USABLE[QLORA] | {"upcast": value}) for value in (False, True))
    assert kept.get_input_embeddings().weight.dtype == torch.float16
    assert upcast.get_input_embeddings().weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("model_type", "year", "dtype"),
    [
        ("llama", 2024, None),
        ("llama", 2025, torch.float32),
        ("gpt_bigcode", 2025, torch.bfloat16),
        ("gpt_bigcode", 2026, None),
    ],
)
def test_the_loss_is_that_of_the_software_of_its_time(model_type, year, dtype):
    loss = workload.loss_of_its_time({"task": "causal-lm", "software": year}, model_type)
    assert (loss is None) is (dtype is None)
    if loss is None:
        return
    logits = torch.randn(2, 5, 7, dtype=torch.bfloat16, requires_grad=True)
    labels = torch.randint(7, (2, 5))
    expected = torch.nn.functional.cross_entropy(logits[:, :-1].float().reshape(-1, 7), labels[:, 1:].reshape(-1))
    found = loss(logits=logits, labels=labels, vocab_size=7, num_items_in_batch=None)
    assert found.dtype == dtype
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=0.02)


def test_plugins_leave_the_loop_to_the_trainer():
    assert [is_in_trainer({"trainer": way}) for way in ("yes", "plugins", "partial", "no")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("key", USABLE)
def test_training_arguments_are_fields_of_the_installed_transformers(key):
    values = training_arguments(USABLE[key])
    assert set(values) <= set(field_names())
    assert values[installed_name(CHECKPOINTING)] is USABLE[key]["checkpointing"]
    assert not (values["bf16"] and values["fp16"])
