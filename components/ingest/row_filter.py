"""Row filters such as ``source == imdb and stars >= 4``, parsed with Python's grammar but never run as Python."""

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from textgate.components.contracts import InputError

# Python's own nesting limit depends on the depth of the caller's stack.
_MAX_DEPTH = 50
_EXAMPLE = "such as source == rotten_tomatoes and rating >= 3"
_ORDER_OPERATORS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@dataclass(frozen=True)
class RowFilter:
    """Parsed filter over the columns of a source."""

    expression: str
    _tree: ast.expr

    @classmethod
    def parse(cls, expression: str) -> "RowFilter":
        """Parse a filter.

        Args:
            expression: Comparisons ``column == value``, !=, <, <=, >, >=, in [a, b], not in; combined by and, or, not
                and parentheses. A column may be inside another one: ``meta.lang``. A value is quoted or a bare word.
                Equality compares text, order compares numbers.

        Raises:
            InputError: The expression has another form.
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
        """Columns that the filter reads."""
        return _columns(self._tree)

    def matches(self, row: dict[str, Any]) -> bool:
        """Return whether the filter selects a row; a missing column equals nothing."""
        return _matches(self._tree, row)


def _columns(node: ast.expr, depth: int = 0) -> set[str]:
    """Return the columns of a filter; raise ValueError if the syntax tree is not a filter."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    match node:
        case ast.BoolOp(values=values):
            return set().union(*(_columns(value, depth + 1) for value in values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _columns(operand, depth + 1)
        case ast.Compare(left=ast.Name() | ast.Attribute() as left, ops=[operation], comparators=[value]):
            if isinstance(operation, ast.In | ast.NotIn):
                if not isinstance(value, ast.List | ast.Tuple | ast.Set):
                    raise ValueError(ast.dump(value))
                for element in value.elts:
                    _constant(element)
            elif isinstance(operation, ast.Eq | ast.NotEq):
                _constant(value)
            elif type(operation) in _ORDER_OPERATORS:
                float(_constant(value))
            else:
                raise ValueError(ast.dump(operation))
            return {_column(left)}
    raise ValueError(ast.dump(node))


def _column(node: ast.expr) -> str:
    """Return the name of a column, in which dots separate the keys of a nested one."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=outer, attr=name):
            return f"{_column(outer)}.{name}"
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


def _matches(node: ast.expr, row: dict[str, Any]) -> bool:
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_matches(value, row) for value in values)
        case ast.BoolOp(values=values):
            return any(_matches(value, row) for value in values)
        case ast.UnaryOp(operand=operand):
            return not _matches(operand, row)
        case ast.Compare(left=left, ops=[operation], comparators=[value]):
            return _compare(row.get(_column(left)), operation, value)
    raise AssertionError(ast.dump(node))


def _compare(actual: Any, operation: ast.cmpop, value: ast.expr) -> bool:
    match operation:
        case ast.Eq():
            return actual is not None and str(actual) == _constant(value)
        case ast.NotEq():
            return actual is None or str(actual) != _constant(value)
    if isinstance(value, ast.List | ast.Tuple | ast.Set):
        is_element = actual is not None and str(actual) in {_constant(element) for element in value.elts}
        return is_element == isinstance(operation, ast.In)
    try:
        return _ORDER_OPERATORS[type(operation)](float(actual), float(_constant(value)))
    except (TypeError, ValueError, OverflowError):
        return False
