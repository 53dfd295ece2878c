"""`%syftsql` and `%%syftsql`: SQL over the history of the workspace, in a cell."""

from __future__ import annotations

import re
import sys
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand

from .parameters import from_variables
from .query import run
from .sql_error import SyftSqlError, SyftSqlTruncated

USAGE = """%%syftsql [--as pandas|polars|arrow|rows] [--workspace PATH] [--timeout SECONDS] [--max-rows N] [--memory MB] [NAME <<]
SELECT …"""
_OPTION = re.compile(r"""\s*--([a-z-]+)(?:=|\s+)("[^"]*"|'[^']*'|\S+)""")
_TARGET = re.compile(r"\s*([^\W\d]\w*)\s*<<")
_OPTIONS: dict[str, tuple[str, type]] = {
    "as": ("as_", str),
    "workspace": ("workspace", str),
    "timeout": ("timeout", float),
    "max-rows": ("max_rows", int),
    "memory": ("memory_mb", int),
}


def _read_line(line: str) -> tuple[dict[str, Any], str | None, str]:
    """The options, the variable to assign to, and what is left of the line."""
    options: dict[str, Any] = {}
    rest = line
    while option := _OPTION.match(rest):
        if option[1] not in _OPTIONS:
            raise UsageError(f"there is no --{option[1]}\n{USAGE}")
        name, kind = _OPTIONS[option[1]]
        value = option[2]
        if value[0] in "\"'":
            value = value[1:-1]
        try:
            options[name] = kind(value)
        except ValueError:
            raise UsageError(f"--{option[1]} takes a number, not {value}") from None
        rest = rest[option.end() :]
    target = _TARGET.match(rest)
    return options, target and target[1], rest[target.end() :] if target else rest


@magics_class
class SyftSqlMagics(Magics):
    """Registered by `%load_ext syft_sync`."""

    # Otherwise IPython would paste variables into the text of the query.
    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def syftsql(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        """Runs a query on the history of the workspace; gives a DataFrame.

        %%syftsql [--as pandas|polars|arrow|rows] [--workspace PATH] [--timeout SECONDS] [--max-rows N] [--memory MB] [NAME <<]
        SELECT path, at FROM changes WHERE path = $name AND at > :since

        `$name` and `:since` take their values from the Python variables of these names; `NAME <<` puts the result into a variable.
        On one line: `frame = %syftsql SELECT …`.
        """
        shell: Any = self.shell
        options, target, rest = _read_line(line)
        # The first line of the cell may hold the beginning of the query.
        begins_in_line = cell is None or rest.strip() != ""
        query = rest if cell is None else f"{rest}\n{cell}" if begins_in_line else cell
        if not query.strip():
            raise UsageError(f"there is no query\n{USAGE}")
        try:
            values = from_variables(query, {**shell.user_ns, **(local_ns or {})})
            done = run(query, values, **options)
        except SyftSqlError as error:
            if cell is not None:
                error.lines_before = 0 if begins_in_line else 1
            said = f"{type(error).__name__}: {error}"
            # The frames of this package say nothing about the query.
            error._render_traceback_ = lambda *_: said.split("\n")  # type: ignore[attr-defined]
            raise
        except (TypeError, ValueError) as error:
            raise UsageError(str(error)) from error
        if done.left_out:
            # Python says a warning only once of each place, and all magics are called from one.
            print(f"{SyftSqlTruncated.__name__}: {done.left_out}", file=sys.stderr)
        if target is None:
            return done.value
        shell.push({target: done.value})
        print(f"{target}: {done.summary}")
        return None
