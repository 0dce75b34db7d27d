"""No dropout of any kind is left, and nothing else is changed."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModel, BartConfig, BertConfig, GPT2Config, T5Config

from perftune.measuring.dropout import without_dropout

SIZES: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16}
CONFIGS = [
    BertConfig(**SIZES, vocab_size=20),
    GPT2Config(n_embd=16, n_head=2, n_layer=1, vocab_size=20),
    T5Config(d_model=16, d_kv=8, d_ff=16, num_heads=2, num_layers=1, vocab_size=20),
    BartConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, vocab_size=20, attention_dropout=0.2, activation_dropout=0.3,
    ),
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_model_in_training_mode_draws_no_random_numbers(config: Any, attention: str) -> None:
    if attention == "sdpa" and isinstance(config, T5Config):
        pytest.skip("T5 has eager attention only")
    model = AutoModel.from_config(copy.deepcopy(config), attn_implementation=attention).train()
    ids = torch.arange(3, 9)[None]
    inputs = {"input_ids": ids, **({"decoder_input_ids": ids} if config.is_encoder_decoder else {})}
    assert not torch.equal(model(**inputs)[0], model(**inputs)[0])
    without_dropout(SimpleNamespace(model=model))
    state = torch.get_rng_state()
    assert torch.equal(model(**inputs)[0], model(**inputs)[0])
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training


def test_all_kinds_of_torch_s_own_modules() -> None:
    kinds = [nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout]
    layers = [kind(0.5) for kind in kinds]
    without_dropout(SimpleNamespace(model=nn.Sequential(*layers, nn.LSTM(4, 4, 2, dropout=0.5))))
    assert [layer.p for layer in layers] == [0.0] * len(kinds)


def test_what_is_no_rate_stays() -> None:
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop_last, self.num_dropped, self.p, self.eps, self.drop_path_rate = True, 3, 0.5, 1e-6, 0.2
            self.config = {"hidden_dropout": 0.1}

    other = Other()
    without_dropout(SimpleNamespace(model=other))
    assert (other.drop_last, other.num_dropped, other.p, other.eps) == (True, 3, 0.5, 1e-6)
    assert other.drop_path_rate == 0.0
