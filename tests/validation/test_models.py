"""A config with a wrong size has another number of parameters than the published weights."""

import pytest
import torch
from transformers import AutoConfig

from benchmarks.validation.models import MODELS
from benchmarks.validation.rows import load_rows, usable
from benchmarks.validation.workload import MODEL_CLASSES

PRINTED = {
    "qwen2.5-1.5b": 1.544e9,
    "smollm2-135m": 134.5e6,
    "tinyllama-1.1b": 1.1e9,
    "mistral-7b-v0.3": 7.248e9,
    "llama-3.2-3b": 3.213e9,
    "bert-large": 335e6,
    "t5-small": 60.5e6,
    "llama-3-8b": 8.03e9,
}
"""Rounded counts of the model cards, typed in apart from those in models.py."""


@pytest.mark.parametrize("key", MODELS)
def test_parameter_count_is_the_published_one(key):
    published = MODELS[key]
    with torch.device("meta"):
        model = MODEL_CLASSES[published.task].from_config(AutoConfig.for_model(**published.config))
    assert model.num_parameters() == pytest.approx(published.num_parameters, rel=0.005)
    assert model.num_parameters() == pytest.approx(PRINTED.get(key, published.num_parameters), rel=0.005)


def test_every_usable_row_has_its_model():
    assert {row["model"] for row in load_rows() if usable(row)} <= set(MODELS)
