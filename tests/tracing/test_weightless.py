"""A model of any size is built without memory for it, and what is shared stays shared."""

import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from transformers import AutoModel, AutoModelForCausalLM, BertConfig, BertModel, LlamaForCausalLM, PreTrainedModel

from perftune.tracing.trace import Tracer
from perftune.tracing.weightless import materialise, weightless
from perftune.units import GIB, MIB
from tests.tracing.models import HIDDEN, LLAMA, VOCAB
from tests.tracing.tracing import IGNORED, request, traced

pytestmark = pytest.mark.filterwarnings(*IGNORED)


def test_seventy_billion_parameters_take_no_memory(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracer = Tracer(request("seventy_billion"), tmp_path)
    assert sum(p.numel() for p in tracer.parameters) > 68e9
    assert all(isinstance(p, FakeTensor) for p in tracer.parameters)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 * MIB // 1024
    assert sum(p.numel() * p.element_size() for p in tracer.parameters) > 250 * GIB


def test_weights_of_a_folder_are_not_read(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (weights,) = saved.glob("*.safetensors")
    header = weights.read_bytes()[: int.from_bytes(weights.read_bytes()[:8], "little") + 8]
    weights.write_bytes(header)
    monkeypatch.chdir(saved.parent)
    found = traced("from_folder", tmp_path / "trace")
    assert found.num_parameters == sum(p.numel() for p in LlamaForCausalLM(LLAMA).parameters())
    assert found.trainable_bytes == 4 * found.num_parameters


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "saved"
    LlamaForCausalLM(LLAMA).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("in_config", [True, False])
def test_the_dtype_is_that_of_the_folder_unless_another_is_asked_for(saved: Path, in_config: bool) -> None:
    LlamaForCausalLM(LLAMA).to(torch.bfloat16).save_pretrained(saved)
    if not in_config:
        path = saved / "config.json"
        path.write_text("\n".join(line for line in path.read_text().splitlines() if '"dtype"' not in line))
    with weightless():
        plain = AutoModelForCausalLM.from_pretrained(saved)
        named = AutoModelForCausalLM.from_pretrained(saved, dtype="float16", attn_implementation="eager")
    real = AutoModelForCausalLM.from_pretrained(saved)
    assert plain.dtype is real.dtype is torch.bfloat16
    assert named.dtype is torch.float16
    assert named.config._attn_implementation == "eager"
    assert plain.training is real.training is False


def test_options_reach_the_configuration(saved: Path) -> None:
    with weightless():
        model = LlamaForCausalLM.from_pretrained(saved, num_hidden_layers=1, device_map="auto")
    assert len(model.model.layers) == 1


def test_arguments_of_the_model_reach_it(tmp_path: Path) -> None:
    BertModel(
        BertConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
    ).save_pretrained(tmp_path)
    with weightless():
        models = [AutoModel.from_pretrained(tmp_path, add_pooling_layer=wanted) for wanted in (True, False)]
    assert [model.pooler is not None for model in models] == [True, False]


def test_building_is_as_before_afterwards() -> None:
    own = torch.nn.Module.register_parameter, PreTrainedModel.__dict__["from_pretrained"]
    with weightless():
        assert torch.nn.Linear(2, 2).weight.device.type == "meta"
    assert (torch.nn.Module.register_parameter, PreTrainedModel.__dict__["from_pretrained"]) == own
    assert torch.nn.Linear(2, 2).weight.device.type == "cpu"


def test_tied_weights_are_counted_once(tmp_path: Path) -> None:
    apart, tied = (traced(name, tmp_path / name) for name in ("llama", "tied_llama"))
    assert apart.num_parameters - tied.num_parameters == VOCAB * HIDDEN
    assert len(apart.steps[0].tape.gradients) - len(tied.steps[0].tape.gradients) == 1


def test_a_parameter_that_two_layers_are_given_stays_one(tmp_path: Path) -> None:
    found = traced("shared", tmp_path)
    assert found.num_parameters == HIDDEN * HIDDEN + 2 * HIDDEN


def test_buffers_become_shapes_too() -> None:
    with weightless():
        model: Any = torch.nn.BatchNorm1d(8)
    parameters, buffers = materialise(model, FakeTensorMode())
    assert [tuple(tensor.shape) for tensor in (*parameters, *buffers)] == [(8,), (8,), (8,), (8,), ()]
    assert all(isinstance(tensor, FakeTensor) for tensor in (*parameters, *buffers))
    assert model.running_mean is buffers[0]
    assert [p.requires_grad for p in parameters] == [True, True]
