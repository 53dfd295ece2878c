"""How a result looks in a notebook: a table with the types of its columns, how many rows there are, and how long it took."""

from __future__ import annotations

import datetime
import html
import re
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

# More than so many rows, and only the first and last are shown.
MOST_ROWS = 60
AT_EACH_END = 10
MOST_COLUMNS = 60
LONGEST_TEXT = 300
# Control characters, and those that turn the direction of text: a file's name may pretend to be another.
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


class Column:
    """A column of a result: its name and its type in words."""

    def __init__(self, name: str, type_name: str) -> None:
        self.name = name
        self.type = type_name


def printable(text: str) -> str:
    """Text of strangers, with its unseen characters spelled out."""
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _text(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        text = str(value)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        start = bytes(value[: LONGEST_TEXT // 2])
        text = f"\\x{start.hex()}" + ("…" if len(value) > len(start) else "")
    elif isinstance(value, str):
        text = value[: LONGEST_TEXT + 1]
    else:
        text = str(value)
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT] + "…"
    return printable(text)


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _cell(value: Any) -> str:
    if _is_missing(value):
        return '<td style="text-align: left"><em>null</em></td>'
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    align = "right" if number else "left"
    return f'<td style="text-align: {align}">{html.escape(_text(value))}</td>'


def summary(rows: int, elapsed_ms: float | None, truncated: bool) -> str:
    """`1,204 rows in 12 ms`, and that there are more where there are."""
    counted = "1 row" if rows == 1 else f"{rows:,} rows"
    took = "" if elapsed_ms is None else f" in {elapsed_ms:,.0f} ms" if elapsed_ms < 10_000 else f" in {elapsed_ms / 1000:,.1f} s"
    return f"{counted}{took}{'; the query has more, see max_rows' if truncated else ''}"


def table_html(
    columns: Sequence[Column],
    rows: int,
    some: Callable[[int, int], Iterable[Sequence[Any]]],
    foot: str,
) -> str:
    """A table as HTML; all that comes from the result is escaped.

    Args:
        some: The rows from one place to another.
        foot: What stands below.
    """
    shown = columns[:MOST_COLUMNS]
    more = "" if len(shown) == len(columns) else f"<th>… {len(columns) - len(shown)} more</th>"
    heads = "".join(
        f'<th style="text-align: left">{html.escape(_text(column.name))}<br/>'
        f'<small style="font-weight: normal">{html.escape(_text(column.type))}</small></th>'
        for column in shown
    )

    def lines(begin: int, end: int) -> str:
        return "".join(f"<tr>{''.join(map(_cell, row[:MOST_COLUMNS]))}</tr>\n" for row in some(begin, end))

    if rows <= MOST_ROWS:
        body = lines(0, rows)
    else:
        gap = f'<tr><td colspan="{len(shown)}" style="text-align: left">…</td></tr>\n'
        body = lines(0, AT_EACH_END) + gap + lines(rows - AT_EACH_END, rows)
    return (
        f'<div>\n<table border="1" class="dataframe">\n<thead><tr>{heads}{more}</tr></thead>\n'
        f"<tbody>\n{body}</tbody>\n</table>\n<p>{html.escape(foot)}</p>\n</div>"
    )


def show_as_table(frame: Any, columns: Sequence[Column], foot: str, rows_of: Callable[[Any, int, int], Iterable[Sequence[Any]]]) -> None:
    """Gives one DataFrame, and none that is made from it, a table of ours as its display."""
    names = [column.name for column in columns]
    length = len(frame)
    # A method that held its frame would keep a large one in memory until the next collection of cycles.
    reference = weakref.ref(frame)

    def display() -> str | None:
        own = reference()
        if own is None:
            return None
        if list(own.columns) != names or len(own) != length:
            # Changed in its place: no more what the query gave.
            usual: str | None = type(own)._repr_html_(own)
            return usual
        return table_html(columns, length, lambda begin, end: rows_of(own, begin, end), foot)

    object.__setattr__(frame, "_repr_html_", display)
