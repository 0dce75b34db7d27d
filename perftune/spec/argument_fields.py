"""The installed transformers' source to the names and types of its TrainingArguments fields, without importing it."""

import ast
import importlib.util
from functools import cache
from pathlib import Path

TypeNames = frozenset[str]
"""The parts of an annotation: ``int | None`` is {int, None}, ``dict[str, Any]`` is {dict}."""

RENAMED = {
    "evaluation_strategy": "eval_strategy",
    "no_cuda": "use_cpu: true",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "group_by_length": "train_sampling_strategy: group_by_length",
    "warmup_ratio": "warmup_steps (a number below 1 is a part of all steps)",
    "adafactor": "optim: adafactor",
    "tokenizer": "tokenizer at the top level",
}
"""Fields of older versions -> what does the same in transformers 5."""


@cache
def argument_fields() -> dict[str, TypeNames]:
    """Field -> types, of TrainingArguments in the installed transformers; empty when there is none to read."""
    package = importlib.util.find_spec("transformers")
    if package is None or package.origin is None:
        return {}
    path = Path(package.origin).with_name("training_args.py")
    if not path.is_file():
        return {}
    return next(
        (
            {
                line.target.id: _type_names(line.annotation)
                for line in node.body
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
            }
            for node in ast.parse(path.read_bytes()).body
            if isinstance(node, ast.ClassDef) and node.name == "TrainingArguments"
        ),
        {},
    )


def _type_names(annotation: ast.expr) -> TypeNames:
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return _type_names(annotation.left) | _type_names(annotation.right)
    if isinstance(annotation, ast.Subscript):
        outer = ast.unparse(annotation.value)
        if outer in ("Optional", "Union"):
            parts = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
            return frozenset({"None"} if outer == "Optional" else ()).union(*(_type_names(part) for part in parts))
        return frozenset({outer})
    return frozenset({ast.unparse(annotation)})


TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "dict": (dict,),
    "list": (list,),
    "None": (type(None),),
}
"""Annotation -> what YAML may hold for it; other annotations (enums) are left to transformers."""

WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "dict": "a mapping",
    "list": "a list",
}


def fits(value: object, types: TypeNames) -> bool:
    """Whether a value may stand for an argument of these types; None always may, it leaves the default."""
    if value is None or not types <= TYPES.keys():
        return True
    allowed = tuple(kind for name in types for kind in TYPES[name])
    return bool in allowed if isinstance(value, bool) else isinstance(value, allowed)
