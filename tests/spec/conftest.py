"""A folder with what probe files name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from perftune.records.probe import ProbeSpec
from perftune.spec import load_probe

TRAIN_PY = "import json\n\n\ndef build(args):\n    return None\n\n\nother = build\n"

Load = Callable[[str], ProbeSpec]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN_PY)
    (tmp_path / "dynamic.py").write_text("globals()['build'] = print\n")
    (tmp_path / "broken.py").write_text("def build(:\n")
    (tmp_path / "reviews.jsonl").write_text('{"text": "good", "label": 1}\n' * 4)
    (tmp_path / "reviews.tsv").write_text("text\n")
    (tmp_path / "my_model").mkdir()
    return tmp_path


@pytest.fixture
def load(folder: Path) -> Load:
    def write_and_load(text: str) -> ProbeSpec:
        path = folder / "model.yaml"
        path.write_text(text, encoding="utf-8")
        return load_probe(path)

    return write_and_load
