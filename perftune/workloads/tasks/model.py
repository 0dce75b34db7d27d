"""A hub id, a local folder or an inline config to the configuration, the model and the tokenizer of a task."""

import difflib
from typing import Any, NamedTuple

import torch
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from perftune.errors import WorkloadError
from perftune.records.probe import ModelWorkload, SyntheticData, Task

VERY_LARGE = 10**9
"""Tokenizers without a limit state a larger number."""


class ModelClass(NamedTuple):
    """How transformers finds the model of a task."""

    auto: Any
    """AutoModelFor…"""
    known: Any
    """Configuration class -> model class."""


MODEL_CLASSES = {
    Task.CAUSAL_LM: ModelClass(AutoModelForCausalLM, MODEL_FOR_CAUSAL_LM_MAPPING),
    Task.MASKED_LM: ModelClass(AutoModelForMaskedLM, MODEL_FOR_MASKED_LM_MAPPING),
    Task.SEQUENCE_CLASSIFICATION: ModelClass(
        AutoModelForSequenceClassification, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    ),
    Task.TOKEN_CLASSIFICATION: ModelClass(AutoModelForTokenClassification, MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING),
    Task.SEQ2SEQ: ModelClass(AutoModelForSeq2SeqLM, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING),
    Task.IMAGE_CLASSIFICATION: ModelClass(AutoModelForImageClassification, MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING),
}


class Sources(NamedTuple):
    """Where model and tokenizer come from."""

    workload: ModelWorkload
    attn_implementation: str | None
    trust_remote_code: bool

    @property
    def options(self) -> dict[str, Any]:
        """Options of every ``from_pretrained``."""
        return {"trust_remote_code": self.trust_remote_code}


def not_found(key: str, name: str, error: Exception) -> WorkloadError:
    """What to say when transformers or datasets cannot get at something by name."""
    reason = str(error).strip().split("\n")[0]
    return WorkloadError(
        f"{key}: {name!r} is not a local folder with the files that are needed, and could not be had from the "
        f"Hugging Face hub: the id is wrong, it needs a login, or there is no network here ({reason}). "
        "Check the spelling, or name a local folder"
    )


def _inline_config(inline: dict[str, Any]) -> PreTrainedConfig:
    values = dict(inline)
    model_type = values.pop("model_type", None)
    known = list(CONFIG_MAPPING.keys())
    if model_type not in known:
        near = difflib.get_close_matches(str(model_type), known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "write for example `model_type: llama`"
        raise WorkloadError(f"config.model_type: {model_type!r} is none that transformers knows; {hint}")
    config = AutoConfig.for_model(model_type)
    for name in values:
        if not hasattr(config, name):
            near = difflib.get_close_matches(name, config.to_dict(), n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise WorkloadError(f"config.{name}: a {model_type} configuration has no such entry{hint}")
    try:
        return AutoConfig.for_model(model_type, **values)
    except (ValueError, TypeError) as error:
        raise WorkloadError(f"config: transformers refuses this {model_type} configuration: {error}") from error


def _pretrained_config(sources: Sources, name: str) -> PreTrainedConfig:
    try:
        config = AutoConfig.from_pretrained(name, **sources.options)
    except (OSError, ValueError) as error:
        raise not_found("model", name, error) from error
    assert isinstance(config, PreTrainedConfig)
    return config


def load_config(
    sources: Sources, label_names: tuple[str, ...] | None, tokenizer: PreTrainedTokenizerBase | None = None
) -> PreTrainedConfig:
    """The configuration, with the labels and special tokens of the data.

    Raises:
        WorkloadError: not found, refused, or the task has no model of this kind.
    """
    workload = sources.workload
    if (workload.model is None) == (workload.config is None):
        raise WorkloadError("give either `model:` (a hub id or a local folder) or `config:` (inline), and not both")
    config = _inline_config(workload.config) if workload.config else _pretrained_config(sources, str(workload.model))
    _check_task(sources, config)
    if label_names is not None:
        config.id2label = dict(enumerate(label_names))
        config.label2id = {name: number for number, name in enumerate(label_names)}
    if workload.config is not None:
        _complete(config, workload, tokenizer)
    config.use_cache = False
    return config


def _check_task(sources: Sources, config: PreTrainedConfig) -> None:
    model_class = MODEL_CLASSES[sources.workload.task]
    name = model_class.auto.__name__
    if type(config) in model_class.known or name in (getattr(config, "auto_map", None) or {}):
        return
    possible = [task.value for task, other in MODEL_CLASSES.items() if type(config) in other.known]
    raise WorkloadError(
        f"task: {sources.workload.task.value} does not go with a {config.model_type} model ({name} has none). "
        f"Tasks that do: {', '.join(possible) or 'none of those that need no code; write a build function'}"
    )


def _complete(config: PreTrainedConfig, workload: ModelWorkload, tokenizer: PreTrainedTokenizerBase | None) -> None:
    """Fill what an inline config leaves open and the data decide; refuse what contradicts them."""
    given = workload.config or {}
    if tokenizer is not None:
        if "vocab_size" not in given:
            config.vocab_size = len(tokenizer)
        elif len(tokenizer) > given["vocab_size"]:
            raise WorkloadError(
                f"config.vocab_size: {given['vocab_size']} is less than the {len(tokenizer)} tokens of the tokenizer "
                f"{workload.tokenizer}; leave the entry out or raise it"
            )
        config.pad_token_id = tokenizer.pad_token_id
        config.eos_token_id = tokenizer.eos_token_id
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = 0
    if config.is_encoder_decoder and getattr(config, "decoder_start_token_id", None) is None:
        config.decoder_start_token_id = config.pad_token_id
    if isinstance(workload.data, SyntheticData) and hasattr(config, "image_size") and "image_size" not in given:
        config.image_size = workload.data.image_size


def load_model(sources: Sources, config: PreTrainedConfig) -> PreTrainedModel:
    """The model in 32 bits, which mixed precision starts from: pretrained, or drawn at random for an inline config.

    Raises:
        WorkloadError: the weights cannot be found.
    """
    auto = MODEL_CLASSES[sources.workload.task].auto
    options: dict[str, Any] = {**sources.options, "dtype": torch.float32}
    if sources.attn_implementation is not None:
        options["attn_implementation"] = sources.attn_implementation
    name = sources.workload.model
    if name is None:
        try:
            model = auto.from_config(config, **options)
        except (ValueError, TypeError) as error:
            raise WorkloadError(f"config: transformers cannot build this {config.model_type} model: {error}") from error
    else:
        try:
            model = auto.from_pretrained(name, config=config, ignore_mismatched_sizes=True, **options)
        except OSError as error:
            raise not_found("model", name, error) from error
    assert isinstance(model, PreTrainedModel)
    return model


def load_tokenizer(sources: Sources) -> PreTrainedTokenizerBase:
    """The tokenizer that the workload names, or else its model's.

    Raises:
        WorkloadError: none is named, or it is not found.
    """
    workload = sources.workload
    name = workload.tokenizer or workload.model
    if name is None:
        raise WorkloadError(
            "tokenizer: an inline config with text data needs one; write `tokenizer: <hub id or local folder>`, "
            "or take synthetic data, which need none"
        )
    key = "tokenizer" if workload.tokenizer else "model"
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **sources.options)
    except (OSError, ValueError) as error:
        raise not_found(key, name, error) from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise WorkloadError(f"{key}: the tokenizer {name!r} has neither a padding nor an end token to pad with")
        tokenizer.pad_token = tokenizer.eos_token
    if workload.task is Task.MASKED_LM and tokenizer.mask_token_id is None:
        raise WorkloadError(f"{key}: the tokenizer {name!r} has no mask token, which task masked-lm needs")
    return tokenizer


ROBERTA_LIKE = frozenset(
    {"camembert", "data2vec-text", "ibert", "longformer", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta",
     "xlm-roberta-xl", "xmod"}
)  # fmt: skip
"""Models whose positions start behind the padding token's number: so many fewer can be used."""


def max_positions(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase | None = None) -> int | None:
    """Tokens that the model, or its tokenizer, takes at most; None: no limit is stated."""
    limits = []
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    if positions is not None and positions > 0:
        limits.append(positions - (config.pad_token_id + 1 if config.model_type in ROBERTA_LIKE else 0))
    if tokenizer is not None and tokenizer.model_max_length < VERY_LARGE:
        limits.append(tokenizer.model_max_length)
    return min(limits, default=None)
