"""Layers in four bits: their packed size, and the unpacked weight only where it is used."""

from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import LlamaForCausalLM

from perftune.plan.program import Part
from perftune.tracing.packed import is_packed, pack
from perftune.tracing.recorder import Recorder
from tests.tracing.models import HIDDEN, LAYERS, LLAMA, VOCAB
from tests.tracing.tracing import IGNORED, bytes_of, operators, traced

pytestmark = pytest.mark.filterwarnings(*IGNORED)
bitsandbytes = pytest.importorskip("bitsandbytes")
LINEAR = LAYERS * (4 * HIDDEN * HIDDEN + 3 * HIDDEN * 64)


@pytest.mark.parametrize("is_double", [False, True])
def test_a_layer_takes_half_a_byte_a_weight_and_its_scales(is_double: bool) -> None:
    layer = bitsandbytes.nn.Linear4bit(128, 256, compute_dtype=torch.bfloat16, compress_statistics=is_double)
    model = torch.nn.Sequential(layer, torch.nn.Linear(256, 2))
    assert [is_packed(module) for module in model] == [True, False]
    recorder, mode = Recorder(), FakeTensorMode(allow_non_fake_inputs=True)
    scales = pack(model, mode, recorder)
    blocks = 128 * 256 // 64
    assert model[0].weight.numel() * model[0].weight.element_size() == 128 * 256 // 2
    assert sum(scale.numel() * scale.element_size() for scale in scales) == (
        blocks + 4 * 2 if is_double else 4 * blocks
    )
    with mode:
        x = torch.empty(8, 128, requires_grad=True)
        bias = layer.bias.detach()
    layer._parameters["bias"] = torch.nn.Parameter(bias) if not hasattr(bias, "fake_mode") else bias
    with recorder:
        out = layer(x)
        recorder.mark("forward_ends")
        out.sum().backward()
    tape = recorder.cut()
    assert out.shape == (8, 256)
    assert out.dtype is torch.float32
    assert [ops.count("dequantize") for ops in (operators(tape), operators(tape, "", "forward_ends"))] == [2, 1]
    unpacked = [number for number, size in enumerate(tape.sizes) if size == 2 * 128 * 256]
    assert len(unpacked) == 2
    for number in unpacked:
        assert -(number + 1) in tape.events, "it is gone after the product"


def test_adapters_train_on_packed_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LlamaForCausalLM(LLAMA).to(torch.bfloat16).save_pretrained(tmp_path / "saved")
    monkeypatch.chdir(tmp_path)
    found = traced("packed", tmp_path / "trace")
    adapters = LAYERS * 2 * (2 * HIDDEN + 2 * HIDDEN)
    rest = 2 * VOCAB * HIDDEN + (2 * LAYERS + 1) * HIDDEN
    assert found.num_trainable_parameters == adapters
    assert sum(found.parameter_bytes) == LINEAR // 2 + 2 * rest + found.trainable_bytes
    assert sum(found.buffer_bytes) >= 4 * LINEAR // 64
    tape = found.steps[0].tape
    assert bytes_of(tape, Part.GRADIENTS) == found.trainable_bytes
    assert operators(tape, "micro_0", "backward_0").count("dequantize") == 7 * LAYERS
    no_gradient_beyond = 3  # of the first layer's input, which q, k and v read
    backward = operators(tape, "backward_0", "micro_0_ends")
    assert backward.count("dequantize") == 7 * LAYERS - no_gradient_beyond
