"""What went wrong with a query, shown at its place in the text."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any


class SyftSqlError(Exception):
    """A query that gave no result.

    Attributes:
        code: Stable, for programs: `SQL_SYNTAX`, `SQL_INVALID`, `SQL_TIMEOUT`, `NOT_RUNNING` …
        message: For people.
        query: The text that was asked, as it was written.
        offset: Where in it, in characters from 0; None where no place is known.
        line, column: The same, from 1.
    """

    def __init__(self, code: str, message: str, query: str = "", offset: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.query = query
        self.offset = None if offset is None else max(0, min(offset, len(query)))
        # How many lines of a notebook cell stand before the query; None outside of a cell.
        self.lines_before: int | None = None

    @classmethod
    def from_answer(cls, error: Mapping[str, Any], query: str) -> SyftSqlError:
        """From `{"code", "message", "position"?}` as the sidecar and the command line give it."""
        position = error.get("position")
        offset = _characters(query, position["offset"]) if isinstance(position, Mapping) else None
        return cls(str(error.get("code", "INTERNAL")), str(error.get("message", "")), query, offset)

    @property
    def line(self) -> int | None:
        return None if self.offset is None else self.query.count("\n", 0, self.offset) + 1

    @property
    def column(self) -> int | None:
        return None if self.offset is None else self.offset - (self.query.rfind("\n", 0, self.offset) + 1) + 1

    def __str__(self) -> str:
        said = f"{self.message} [{self.code}]"
        if self.offset is None or self.line is None or self.column is None:
            return said
        written = self.query.split("\n")[self.line - 1].rstrip("\r")
        before = written[: self.column - 1]
        # As wide as what stands above it, so that the mark is under its place.
        indent = "".join("\t" if c == "\t" else " " * _width(c) for c in before)
        where = f"line {self.line}" if self.lines_before is None else f"line {self.line + self.lines_before} of the cell"
        return f"{said}\n{where}:\n  {written}\n  {indent}^"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.message, self.query, self.offset)


class SyftSqlTruncated(UserWarning):
    """A result holds fewer rows than the query has."""


def _characters(text: str, units: int) -> int:
    """UTF-16 code units, as JavaScript counts, in characters of Python."""
    for characters, character in enumerate(text):
        if units <= 0:
            return characters
        units -= 2 if ord(character) > 0xFFFF else 1
    return len(text)


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
