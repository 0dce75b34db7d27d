"""Model keys of rows.jsonl to the values of their transformers configs, with the parameter counts to check them by."""

from typing import Any, NamedTuple


class PublishedModel(NamedTuple):
    """A model whose weights are published; the config is the one published next to them."""

    num_parameters: int
    """Trained values, shared ones counted once, with the head of ``task``."""
    config: dict[str, Any]
    """For ``AutoConfig.for_model(**config)``; what is left out is the default of the model type."""
    task: str = "causal-lm"


def _decoder(
    model_type: str,
    hidden: int,
    layers: int,
    heads: int,
    kv_heads: int,
    intermediate: int,
    vocabulary: int,
    **more: Any,
) -> dict[str, Any]:
    """A Llama-like config."""
    return {
        "model_type": model_type,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": intermediate,
        "vocab_size": vocabulary,
        **more,
    }


def _gpt2(hidden: int, layers: int, heads: int) -> dict[str, Any]:
    return {"model_type": "gpt2", "n_embd": hidden, "n_layer": layers, "n_head": heads}


TIED = {"tie_word_embeddings": True}
UNTIED = {"tie_word_embeddings": False}
BERT_LARGE = {
    "model_type": "bert",
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
SANTACODER = {
    "model_type": "gpt_bigcode",
    "vocab_size": 49280,
    "n_positions": 2048,
    "n_embd": 2048,
    "n_layer": 24,
    "n_head": 16,
    "n_inner": 8192,
    "multi_query": True,
    "bos_token_id": 49152,
    "eos_token_id": 49152,
}
T5_SMALL = {
    "model_type": "t5",
    "vocab_size": 32128,
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 6,
    "num_heads": 8,
    "decoder_start_token_id": 0,
}

MODELS: dict[str, PublishedModel] = {
    "bert-base": PublishedModel(109_514_298, {"model_type": "bert"}, "masked-lm"),
    "bert-large": PublishedModel(335_143_938, BERT_LARGE, "sequence-classification"),
    "t5-small": PublishedModel(60_506_624, T5_SMALL, "seq2seq-lm"),
    "gpt2": PublishedModel(124_439_808, _gpt2(768, 12, 12)),
    "gpt2-large": PublishedModel(774_030_080, _gpt2(1280, 36, 20)),
    "gpt2-xl": PublishedModel(1_557_611_200, _gpt2(1600, 48, 25)),
    "santacoder": PublishedModel(1_124_886_528, SANTACODER),
    "smollm2-135m": PublishedModel(
        134_515_008, _decoder("llama", 576, 30, 9, 3, 1536, 49152, max_position_embeddings=8192, **TIED)
    ),
    "smollm2-360m": PublishedModel(
        361_821_120, _decoder("llama", 960, 32, 15, 5, 2560, 49152, max_position_embeddings=8192, **TIED)
    ),
    "smollm2-1.7b": PublishedModel(
        1_711_376_384, _decoder("llama", 2048, 24, 32, 32, 8192, 49152, max_position_embeddings=8192, **TIED)
    ),
    "tinyllama-1.1b": PublishedModel(
        1_100_048_384, _decoder("llama", 2048, 22, 32, 4, 5632, 32000, max_position_embeddings=2048, **UNTIED)
    ),
    "llama-3.2-1b": PublishedModel(
        1_235_814_400, _decoder("llama", 2048, 16, 32, 8, 8192, 128256, max_position_embeddings=131072, **TIED)
    ),
    "llama-3.2-3b": PublishedModel(
        3_212_749_824, _decoder("llama", 3072, 28, 24, 8, 8192, 128256, max_position_embeddings=131072, **TIED)
    ),
    "llama-2-7b": PublishedModel(
        6_738_415_616, _decoder("llama", 4096, 32, 32, 32, 11008, 32000, max_position_embeddings=4096, **UNTIED)
    ),
    "llama-2-70b": PublishedModel(
        68_976_648_192, _decoder("llama", 8192, 80, 64, 8, 28672, 32000, max_position_embeddings=4096, **UNTIED)
    ),
    "llama-3-8b": PublishedModel(
        8_030_261_248, _decoder("llama", 4096, 32, 32, 8, 14336, 128256, max_position_embeddings=8192, **UNTIED)
    ),
    "mistral-7b-v0.1": PublishedModel(
        7_241_732_096, _decoder("mistral", 4096, 32, 32, 8, 14336, 32000, sliding_window=4096, **UNTIED)
    ),
    "mistral-7b-v0.3": PublishedModel(
        7_248_023_552, _decoder("mistral", 4096, 32, 32, 8, 14336, 32768, sliding_window=None, **UNTIED)
    ),
    "mixtral-8x7b": PublishedModel(
        46_702_792_704,
        _decoder("mixtral", 4096, 32, 32, 8, 14336, 32000, num_local_experts=8, num_experts_per_tok=2, **UNTIED),
    ),
    "powerlm-3b": PublishedModel(
        3_510_819_072, _decoder("granite", 2304, 40, 36, 36, 9216, 49152, max_position_embeddings=4096, **TIED)
    ),
    "qwen2.5-1.5b": PublishedModel(
        1_543_714_304, _decoder("qwen2", 1536, 28, 12, 2, 8960, 151936, max_position_embeddings=32768, **TIED)
    ),
    "qwen2.5-7b": PublishedModel(
        7_615_616_512, _decoder("qwen2", 3584, 28, 28, 4, 18944, 152064, max_position_embeddings=32768, **UNTIED)
    ),
    # Qwen 1 is remote code; Qwen 1.5 has the same sizes, and its layers are transformers' qwen2.
    "qwen-1.8b": PublishedModel(
        1_836_828_672, _decoder("qwen2", 2048, 24, 16, 16, 5504, 151936, max_position_embeddings=8192, **UNTIED)
    ),
    "qwen-7b": PublishedModel(
        7_721_324_544, _decoder("qwen2", 4096, 32, 32, 32, 11008, 151936, max_position_embeddings=8192, **UNTIED)
    ),
    "qwen-14b": PublishedModel(
        14_167_290_880, _decoder("qwen2", 5120, 40, 40, 40, 13696, 152064, max_position_embeddings=8192, **UNTIED)
    ),
}
