"""A module's source to its mutants: the same source with one operator, number, condition or result changed."""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
"""What a comparison becomes: its neighbour at the boundary, and its opposite."""

ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
    ast.BitXor: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip

OPPOSITES = {
    "min": "max", "minimum": "maximum", "nanmin": "nanmax", "argmin": "argmax", "any": "all", "floor": "ceil",
}  # fmt: skip
OPPOSITES |= {opposite: name for name, opposite in OPPOSITES.items()}
"""Functions and methods that are taken for each other."""

FLOAT_CHANGE = 1.1
"""What a number with a decimal point is multiplied by; too small for a test that only looks roughly."""


@dataclass(frozen=True)
class Mutant:
    """One fault."""

    line: int
    """Of the source, from 1."""
    code: str
    """That line, without the space around it."""
    change: str
    """What was there and what is there now."""
    source: str
    """The module with the fault in it; comments are gone."""


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    lines = source.splitlines()
    made = [
        Mutant(line, lines[line - 1].strip(), change, mutated) for line, change, mutated in _changed(ast.parse(source))
    ]
    return sorted(made, key=lambda mutant: mutant.line)


def _changed(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    for parent, field, index, node in _places(tree):
        for replacement in _replacements(node):
            ast.copy_location(replacement, node)
            _put(parent, field, index, replacement)
            yield node.lineno, f"{_shown(node)} → {_shown(replacement)}", ast.unparse(tree)
            _put(parent, field, index, node)


def _shown(node: ast.AST) -> str:
    if isinstance(node, ast.If | ast.While):
        return f"{type(node).__name__.lower()} {ast.unparse(node.test)}"
    return " ".join(ast.unparse(node).split())


def _put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _places(parent: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.expr | ast.stmt]]:
    """Every expression and statement that runs, and where it hangs."""
    for field, value in ast.iter_fields(parent):
        if _says_nothing(parent, field):
            continue
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(node, ast.expr | ast.stmt) and not _is_for_types(node):
                yield parent, field, index, node
            if isinstance(node, ast.AST):
                yield from _places(node)


def _says_nothing(parent: ast.AST, field: str) -> bool:
    """Annotations, imports for them, decorators, assertions, and ``strict`` of ``zip``, which guards the impossible."""
    if field in {"annotation", "returns", "decorator_list"}:
        return True
    if isinstance(parent, ast.Assert) or _is_for_types(parent):
        return True
    return isinstance(parent, ast.keyword) and parent.arg == "strict"


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _replacements(node: ast.AST) -> list[ast.AST]:
    """What may stand in a node's place; the node itself stays as it is."""
    match node:
        case ast.Compare():
            return _comparisons(node)
        case ast.BinOp() | ast.AugAssign() if type(node.op) in ARITHMETIC:
            return [_with(node, op=ARITHMETIC[type(node.op)]())]
        case ast.BoolOp():
            return [_with(node, op=ast.And() if isinstance(node.op, ast.Or) else ast.Or())]
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            return [copy.deepcopy(node.operand)]
        case ast.Constant():
            return [ast.Constant(value) for value in _numbers(node.value)]
        case ast.Name() if node.id in OPPOSITES:
            return [_with(node, id=OPPOSITES[node.id])]
        case ast.Attribute() if node.attr in OPPOSITES:
            return [_with(node, attr=OPPOSITES[node.attr])]
        case ast.If() | ast.IfExp() | ast.While() if isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
            return [_with(node, test=ast.UnaryOp(ast.Not(), node.test))]
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            return [ast.Return(ast.Constant(None)), *_turned_round(value)]
        case _:
            return []


def _comparisons(node: ast.Compare) -> list[ast.AST]:
    return [
        _with(node, ops=[*node.ops[:number], changed(), *node.ops[number + 1 :]])
        for number, operator in enumerate(node.ops)
        for changed in COMPARISONS[type(operator)]
    ]


def _numbers(value: object) -> list[bool | int | float]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value * FLOAT_CHANGE] if value else [1.0]
    return []


def _turned_round(value: ast.expr) -> list[ast.AST]:
    """A result that is true or false by the look of it, as its opposite, where no other mutant is that."""
    if isinstance(value, ast.BoolOp):
        return [ast.Return(ast.UnaryOp(ast.Not(), value))]
    return []


def _with(node: ast.AST, **changes: object) -> ast.AST:
    """A copy of one level: what is under the node is shared, and only read."""
    made = copy.copy(node)
    for field, value in changes.items():
        setattr(made, field, value)
    return made
