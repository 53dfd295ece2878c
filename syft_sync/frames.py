"""The bytes of an answer as what people work with: a DataFrame of pandas or polars, an Arrow table, or plain rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from .result_table import Column, show_as_table, summary, table_html
from .sql_error import SyftSqlError

Kind = Literal["pandas", "polars", "arrow", "rows"]
KINDS: tuple[Kind, ...] = ("pandas", "polars", "arrow", "rows")
Wire = Literal["arrow", "json"]


@dataclass(frozen=True)
class Answer:
    """What came of a query.

    Attributes:
        wire: What `body` is: an Arrow IPC stream, or JSON, one array of objects.
        truncated: Rows were left out.
        elapsed_ms: How long it took; None where nobody has said.
        columns: Names and types, where JSON without a row cannot say them.
    """

    body: bytes
    wire: Wire
    truncated: bool
    elapsed_ms: float | None
    columns: Sequence[tuple[str, str]] = ()


class Rows(list[dict[str, Any]]):
    """A result without a DataFrame: one dictionary a row, shown as a table in a notebook."""

    columns: Sequence[Column] = ()
    summary = ""

    def _repr_html_(self) -> str:
        def some(begin: int, end: int) -> Iterable[Sequence[Any]]:
            return ([row.get(column.name) for column in self.columns] for row in self[begin:end])

        return table_html(self.columns, len(self), some, self.summary)


def _library(name: str) -> Any:
    """A library, or None where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        return None


def choose(asked: str | None) -> tuple[Kind, Wire]:
    """What a result becomes, and what has to be asked for to make it.

    Raises:
        ValueError: `asked` is none of KINDS.
        SyftSqlError: What was asked for is not installed.
    """
    if asked is not None and asked not in KINDS:
        raise ValueError(f"as_ is one of {', '.join(KINDS)}, not {asked!r}")
    if asked is None:
        kind: Kind = "pandas" if _library("pandas") else "polars" if _library("polars") else "rows"
    else:
        kind = next(each for each in KINDS if each == asked)
        needed = {"pandas": "pandas", "polars": "polars", "arrow": "pyarrow"}.get(kind)
        if needed is not None and _library(needed) is None:
            raise SyftSqlError("SQL_UNAVAILABLE", f'as_="{kind}" needs {needed} in this environment: pip install {needed}')
    return kind, "arrow" if kind == "polars" or _library("pyarrow") else "json"


def result_of(answer: Answer, kind: Kind) -> Any:
    """An answer as `kind`; see `choose`."""
    if answer.wire == "json":
        return _of_json(answer, kind)
    pyarrow = _library("pyarrow")
    if pyarrow is None:
        # polars reads Arrow by itself.
        return _polars(_held_by_polars(lambda polars: polars.read_ipc_stream(answer.body)), answer)
    with _library("pyarrow.ipc").open_stream(pyarrow.py_buffer(answer.body)) as stream:
        table = stream.read_all()
    columns = [Column(field.name, str(field.type)) for field in table.schema]
    if kind == "arrow":
        return table
    if kind == "rows":
        return _rows(table.to_pylist(), columns, answer)
    if kind == "polars":
        foreign = [field for field in table.schema if _is_foreign_to_polars(pyarrow.types, field.type)]
        if foreign:
            raise _not_for_polars(", ".join(f"{field.name} ({field.type})" for field in foreign))
        return _polars(_held_by_polars(lambda polars: polars.from_arrow(table)), answer, columns)
    return _pandas(_to_pandas(pyarrow, table), answer, columns)


def _to_pandas(pyarrow: Any, table: Any) -> Any:
    pandas = _library("pandas")
    frame = table.to_pandas(split_blocks=True)
    for place, column in enumerate(table.columns):
        if column.null_count and pyarrow.types.is_integer(column.type):
            # Otherwise whole numbers would become floating ones, and large ones would become others.
            exact = str(column.type).replace("u", "U").replace("int", "Int")
            frame.isetitem(place, column.to_pandas(types_mapper=lambda _, exact=exact: pandas.api.types.pandas_dtype(exact)))
    return frame


def _of_json(answer: Answer, kind: Kind) -> Any:
    rows = json.loads(answer.body)
    empty = [Column(name, type_name) for name, type_name in answer.columns]
    if kind == "rows":
        return _rows(rows, [Column(name, _type_in(rows, name)) for name in rows[0]] if rows else empty, answer)
    frame = _library("pandas").DataFrame(rows, columns=None if rows else [column.name for column in empty])
    return _pandas(frame, answer, [Column(str(name), str(frame[name].dtype)) for name in frame.columns] if rows else empty)


def _type_in(rows: Sequence[dict[str, Any]], name: str) -> str:
    return next((type(row[name]).__name__ for row in rows if row.get(name) is not None), "")


def _foot(rows: int, answer: Answer) -> str:
    return summary(rows, answer.elapsed_ms, answer.truncated)


def _rows(rows: Iterable[dict[str, Any]], columns: Sequence[Column], answer: Answer) -> Rows:
    made = Rows(rows)
    made.columns, made.summary = columns, _foot(len(made), answer)
    return made


def _pandas(frame: Any, answer: Answer, columns: Sequence[Column]) -> Any:
    def rows_of(own: Any, begin: int, end: int) -> Iterable[Sequence[Any]]:
        some: Iterable[Sequence[Any]] = own.iloc[begin:end].itertuples(index=False, name=None)
        return some

    show_as_table(frame, columns, _foot(len(frame), answer), rows_of)
    return frame


def _not_for_polars(what: str) -> SyftSqlError:
    return SyftSqlError(
        "SQL_INVALID",
        f"polars cannot hold {what}. Cast intervals, unions and whole numbers of more than 38 digits to VARCHAR in the query, "
        'or ask for as_="arrow" or "pandas".',
    )


def _is_foreign_to_polars(types: Any, kind: Any) -> bool:
    """Of an Arrow type. polars 2 raises on an interval and on a union, and ends with a panic on numbers of 256 bits."""
    if types.is_interval(kind) or types.is_union(kind) or types.is_decimal256(kind):
        return True
    return any(_is_foreign_to_polars(types, kind.field(i).type) for i in range(kind.num_fields)) if kind.num_fields else False


def _held_by_polars(make: Callable[[Any], Any]) -> Any:
    try:
        return make(_library("polars"))
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    # A panic of polars is no Exception for Python.
    except BaseException as error:
        first = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise _not_for_polars(f"this result ({first})") from error


def _polars(frame: Any, answer: Answer, columns: Sequence[Column] | None = None) -> Any:
    def rows_of(own: Any, begin: int, end: int) -> Iterable[Sequence[Any]]:
        some: Iterable[Sequence[Any]] = own.slice(begin, end - begin).rows()
        return some

    own_columns = columns or [Column(name, str(dtype)) for name, dtype in frame.schema.items()]
    show_as_table(frame, own_columns, _foot(len(frame), answer), rows_of)
    return frame
