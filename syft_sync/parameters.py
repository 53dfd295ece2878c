"""Parameters of a query: their names in its text, and Python's values as the sidecar takes them. Nothing is pasted into the text."""

from __future__ import annotations

import datetime
import decimal
import math
import os
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .sql_error import SyftSqlError

# What may hold a `$` or `:` that is none of a parameter comes first.
_TOKEN = re.compile(
    r"""
      [eE]'(?:[^'\\]|\\.|'')*'
    | '(?:[^']|'')*'
    | "(?:[^"]|"")*"
    | --[^\n]*
    | /\*.*?\*/
    | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$
    | (?P<open>[\[{]) | (?P<close>[\]}])
    | ::
    | (?P<dollar>\$[^\W\d]\w*)
    # Not of `[from:to]`, `{'key':value}` and `lambda x:x`.
    | (?<![\w\])}'":])(?P<colon>:[^\W\d]\w*)
    | \w[\w$]*
    """,
    re.VERBOSE | re.DOTALL,
)
# What JSON numbers carry without loss.
_LARGEST_WHOLE = 2**53 - 1


@dataclass(frozen=True)
class Parameter:
    """A place of a query's text where a value is asked for."""

    name: str
    offset: int


def named_parameters(query: str) -> tuple[str, list[Parameter]]:
    """Finds `$name` and `:name`.

    Returns:
        The query with `$name` for every `:name`, no longer and no shorter than before, and where the names stand.
    """
    found: list[Parameter] = []
    pieces: list[str] = []
    copied = depth = 0
    for token in _TOKEN.finditer(query):
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth -= 1
        elif token["dollar"]:
            found.append(Parameter(token["dollar"][1:], token.start()))
        elif token["colon"] and depth <= 0:
            found.append(Parameter(token["colon"][1:], token.start()))
            pieces += [query[copied : token.start()], "$"]
            copied = token.start() + 1
    return "".join([*pieces, query[copied:]]), found


def from_variables(query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the parameters of a query, from the variables of the same names.

    Raises:
        SyftSqlError: There is no variable of that name.
    """
    values: dict[str, Any] = {}
    for parameter in named_parameters(query)[1]:
        if parameter.name not in variables:
            message = f"There is no Python variable {parameter.name} to take the value of the parameter from."
            raise SyftSqlError("SQL_INVALID", message, query, parameter.offset)
        values[parameter.name] = variables[parameter.name]
    return values


def _scalar(name: str, value: Any) -> str | int | float | bool | None:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        # A time finer than Python's own would be a bare number.
        fine = type(value).__name__ == "datetime64" and isinstance(value.item(), int)
        value = (value.astype("datetime64[us]") if fine else value).item()
        if value is None:
            return None
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        if abs(value) > _LARGEST_WHOLE:
            raise TypeError(f"The parameter {name} is too large a number; write it into the query.")
        return value
    if isinstance(value, float):
        if math.isinf(value):
            raise TypeError(f"The parameter {name} is infinite; write 'inf'::DOUBLE into the query.")
        # As pandas has it: a number that is missing.
        return None if math.isnan(value) else value
    if isinstance(value, datetime.datetime):
        if hasattr(value, "to_pydatetime"):
            value = value.to_pydatetime(warn=False)
        # Without a zone it is local time, as everywhere in Python; queries count in UTC.
        return value.astimezone(datetime.timezone.utc).isoformat(sep=" ")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        if isinstance(path, str):
            return path
    raise TypeError(
        f"The parameter {name} is a {type(value).__name__}; text, numbers, booleans, None, dates, times and lists of them can be given."
    )


def _items(value: Any) -> Iterable[Any] | None:
    """The items of lists, tuples, sets, arrays and columns; None for what is a single value."""
    if isinstance(value, (list, tuple, set, frozenset, range)):
        return value
    if getattr(value, "ndim", None) == 1:
        # numpy and pandas: as Python's own values, but for times, which would lose their type.
        return list(value)
    if type(value).__module__.startswith("polars") and hasattr(value, "to_list"):
        items: list[Any] = value.to_list()
        return items
    return None


def value_of(name: str, value: Any) -> Any:
    """A value as JSON carries it.

    Raises:
        TypeError: It is of a type that cannot be a parameter.
    """
    items = _items(value)
    return _scalar(name, value) if items is None else [_scalar(name, item) for item in items]


def bound(parameters: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any] | list[Any]:
    """All values as JSON carries them: by name, or in their order for `?`.

    Raises:
        TypeError: One is of a type that cannot be a parameter.
    """
    if isinstance(parameters, Mapping):
        return {str(name): value_of(str(name), value) for name, value in parameters.items()}
    if isinstance(parameters, (str, bytes)):
        raise TypeError("Parameters are given by name, or as a list.")
    return [value_of(str(place), value) for place, value in enumerate(parameters, 1)]
