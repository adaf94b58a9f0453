"""The row filter: comparisons on the source's columns, parsed by Python's own grammar and never run as Python."""

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from textgate.components.contracts import InputError

# Python's own limits on nesting depend on how deep the caller stands.
_DEEPEST = 50
_EXAMPLE = "such as source == rotten_tomatoes and rating >= 3"
_ORDERS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@dataclass(frozen=True)
class RowFilter:
    """A parsed filter over records."""

    expression: str
    _tree: ast.expr

    @classmethod
    def parse(cls, expression: str) -> "RowFilter":
        """``column == value``, !=, <, <=, >, >=, in [a, b], not in; joined by and, or, not and parentheses.

        A value may be quoted or a bare word. Equality compares as text, order as numbers.

        Raises:
            InputError: anything else.
        """
        try:
            tree = ast.parse(expression.strip(), mode="eval").body
            _columns(tree)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise InputError(
                f"the row filter {expression!r} is not a comparison of columns with values, {_EXAMPLE}"
            ) from error
        return cls(expression, tree)

    @property
    def columns(self) -> set[str]:
        """The columns it asks for."""
        return _columns(self._tree)

    def matches(self, record: dict[str, Any]) -> bool:
        """Whether the record is selected; a column it lacks equals nothing."""
        return _matches(self._tree, record)


def _columns(node: ast.expr, depth: int = 0) -> set[str]:
    """The columns of a filter; ValueError where it is not one."""
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    match node:
        case ast.BoolOp(values=values):
            return set().union(*(_columns(value, depth + 1) for value in values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _columns(operand, depth + 1)
        case ast.Compare(left=ast.Name(id=column), ops=[operation], comparators=[value]):
            if isinstance(operation, ast.In | ast.NotIn):
                if not isinstance(value, ast.List | ast.Tuple | ast.Set):
                    raise ValueError(ast.dump(value))
                for element in value.elts:
                    _constant(element)
            elif isinstance(operation, ast.Eq | ast.NotEq):
                _constant(value)
            elif type(operation) in _ORDERS:
                float(_constant(value))
            else:
                raise ValueError(ast.dump(operation))
            return {column}
    raise ValueError(ast.dump(node))


def _constant(node: ast.expr) -> str:
    match node:
        case ast.Name(id=word):
            return word
        case ast.Constant(value=str() | int() | float() as value):
            return str(value)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return str(-value)
    raise ValueError(ast.dump(node))


def _matches(node: ast.expr, record: dict[str, Any]) -> bool:
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_matches(value, record) for value in values)
        case ast.BoolOp(values=values):
            return any(_matches(value, record) for value in values)
        case ast.UnaryOp(operand=operand):
            return not _matches(operand, record)
        case ast.Compare(left=ast.Name(id=column), ops=[operation], comparators=[value]):
            return _compares(record.get(column), operation, value)
    raise AssertionError(ast.dump(node))


def _compares(found: Any, operation: ast.cmpop, value: ast.expr) -> bool:
    match operation:
        case ast.Eq():
            return found is not None and str(found) == _constant(value)
        case ast.NotEq():
            return found is None or str(found) != _constant(value)
    if isinstance(value, ast.List | ast.Tuple | ast.Set):
        inside = found is not None and str(found) in {_constant(element) for element in value.elts}
        return inside == isinstance(operation, ast.In)
    try:
        return _ORDERS[type(operation)](float(found), float(_constant(value)))
    except (TypeError, ValueError, OverflowError):
        return False
