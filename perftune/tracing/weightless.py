"""A build function to a Trainer whose parameters have shapes and no memory: a model of any size is built in seconds.

Parameters go to the meta device as modules register them, so user code runs as it is. Pretrained weights are not read:
``from_pretrained`` makes the model from its configuration. Afterwards `materialise` turns parameters and buffers into
fake CPU tensors, on which a training step can be traced.
"""

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from transformers import PreTrainedModel, Trainer

META = torch.device("meta")
FROM_PRETRAINED_ONLY = {
    "state_dict", "ignore_mismatched_sizes", "device_map", "low_cpu_mem_usage", "use_safetensors", "offload_folder",
    "max_memory", "weights_only", "variant", "tp_plan", "key_mapping", "output_loading_info",
}  # fmt: skip
"""Options that say how weights are read."""
HUB_OPTIONS = {
    "cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder", "trust_remote_code",
    "code_revision", "proxies",
}  # fmt: skip

SAFETENSORS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@contextmanager
def weightless() -> Iterator[None]:
    """While a workload is built: no parameter takes memory, no weight is read, no model moves to a device."""
    register = torch.nn.Module.register_parameter

    def registers_on_meta(module: torch.nn.Module, name: str, parameter: Any) -> None:
        register(module, name, parameter)
        made = module._parameters.get(name)  # noqa: SLF001 (as accelerate's init_empty_weights does)
        if made is not None and made.device != META:
            module._parameters[name] = _on_meta(made)  # noqa: SLF001

    with ExitStack() as stack:
        for owner, name, new in (
            (torch.nn.Module, "register_parameter", registers_on_meta),
            (Trainer, "_move_model_to_device", _stay),
            (PreTrainedModel, "from_pretrained", classmethod(_from_config)),
        ):
            stack.enter_context(mock.patch.object(owner, name, new))
        yield


def _on_meta(parameter: Any) -> torch.nn.Parameter:
    """The same one each time: what two modules share stays shared."""
    made = getattr(parameter, "_on_meta", None)
    if made is None:
        made = parameter._on_meta = _moved(parameter)  # noqa: SLF001 (a mark of ours)
    assert isinstance(made, torch.nn.Parameter)
    return made


def _moved(parameter: torch.nn.Parameter) -> torch.nn.Parameter:
    if type(parameter) is torch.nn.Parameter:
        return torch.nn.Parameter(parameter.data.to(META), requires_grad=parameter.requires_grad)
    made = parameter.to(META)  # a packed parameter of bitsandbytes keeps its class
    assert isinstance(made, torch.nn.Parameter)
    return made


def _stay(trainer: Trainer, model: torch.nn.Module, device: torch.device) -> None:
    """Shapes have no place."""


def _from_config(cls: Any, /, name: Any, *_: Any, config: Any = None, **options: Any) -> Any:
    """The model that ``from_pretrained`` would fill with weights."""
    hub = {key: value for key, value in options.items() if key in HUB_OPTIONS}
    rest = {key: value for key, value in options.items() if key not in HUB_OPTIONS | FROM_PRETRAINED_ONLY}
    dtype, attention = rest.pop("dtype", rest.pop("torch_dtype", None)), rest.pop("attn_implementation", None)
    quantization = rest.pop("quantization_config", None)
    if config is None:
        config, rest = cls.config_class.from_pretrained(name, return_unused_kwargs=True, **hub, **rest)
    if dtype in (None, "auto"):  # what transformers 5 takes where nothing is said
        dtype = config.dtype or _dtype_of_weights(name)
    made: dict[str, Any] = {"dtype": (getattr(torch, dtype) if isinstance(dtype, str) else dtype) or torch.float32}
    if attention is not None:
        made["attn_implementation"] = attention
    accepted = inspect.signature(cls.__init__).parameters
    model = cls._from_config(config, **made, **{key: value for key, value in rest.items() if key in accepted})
    if quantization is not None:
        _quantize(model, quantization, made["dtype"])
    return model.eval()


def _dtype_of_weights(name: Any) -> torch.dtype | None:
    """Of the first floating weights in a local folder, whose header alone is read; None where that is not known."""
    for path in sorted(Path(str(name)).glob("*.safetensors")):
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
        known = (SAFETENSORS.get(entry["dtype"]) for key, entry in header.items() if key != "__metadata__")
        return next((dtype for dtype in known if dtype is not None), None)
    return None


def _quantize(model: Any, quantization: Any, dtype: torch.dtype) -> None:
    """Put in the packed layers that transformers would."""
    from transformers.quantizers.auto import AutoHfQuantizer

    quantizer = AutoHfQuantizer.from_config(quantization, pre_quantized=False)
    model.config.quantization_config = quantizer.quantization_config
    quantizer.preprocess_model(model=model, dtype=dtype, device_map=None, checkpoint_files=None)
    model.hf_quantizer, model.is_quantized = quantizer, True
    model.quantization_method = quantizer.quantization_config.quant_method
    if quantization.quant_method == "bitsandbytes":
        model.is_loaded_in_4bit = bool(getattr(quantization, "load_in_4bit", False))
        model.is_loaded_in_8bit = bool(getattr(quantization, "load_in_8bit", False))


def materialise(model: torch.nn.Module, mode: FakeTensorMode) -> tuple[list[Any], list[Any]]:
    """Make fake CPU tensors of all parameters and buffers, in place; tied ones stay tied. Both lists, without repeats."""  # noqa: E501
    fakes: dict[int, torch.Tensor] = {}

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        with mode:
            made = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
        fakes[id(tensor)] = made
        return made

    parameters = _replace(model, "_parameters", fakes, lambda old: torch.nn.Parameter(fake(old), old.requires_grad))
    return parameters, _replace(model, "_buffers", fakes, fake)


def _replace(
    model: torch.nn.Module, holder: str, known: dict[int, torch.Tensor], make: Callable[[Any], torch.Tensor]
) -> list[torch.Tensor]:
    made: list[torch.Tensor] = []
    kept: list[torch.Tensor] = []  # the old tensors stay alive, so that no id is used twice
    for module in model.modules():
        for name, old in getattr(module, holder).items():
            if old is None:
                continue
            if isinstance(old, FakeTensor):  # packed already
                if not any(old is other for other in made):
                    made.append(old)
                continue
            if id(old) not in known:
                new = make(old)
                known[id(old)] = new
                made.append(new)
            kept.append(old)
            getattr(module, holder)[name] = known[id(old)]
    del kept
    return made
