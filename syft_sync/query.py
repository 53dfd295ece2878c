"""`sql`: a query on the history of a workspace, asked of whoever records it, or of the command line where nobody does."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import subprocess
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .command import command_line
from .frames import Answer, Wire, choose, result_of
from .locate import NotFound
from .parameters import bound, named_parameters
from .recorder import Connection, Place, connect, place_of
from .result_table import summary
from .sql_error import SyftSqlError, SyftSqlTruncated

# Seconds without a byte, beyond the time that the query itself may take.
PATIENCE = 30.0


def sql(
    query: str,
    parameters: Mapping[str, Any] | Sequence[Any] | None = None,
    /,
    *,
    as_: str | None = None,
    workspace: str | os.PathLike[str] | None = None,
    timeout: float = 10.0,
    max_rows: int = 1_000_000,
    memory_mb: int = 1024,
    **named: Any,
) -> Any:
    """Runs a query that reads the history of a workspace; see docs/sql.md for its tables and macros.

    Args:
        query: One SELECT. `$name` and `:name` stand for parameters (`:name` not within `[]` and `{}`), `?` for those of a list.
        parameters: Values by name or, for `?`, in their order: text, numbers, booleans, None, dates, times and lists of them,
            numpy's and pandas' too. They are bound, never pasted into the text. A time without a zone is local time.
        as_: "pandas", "polars", "arrow" or "rows" (one dictionary a row). Default: the first of pandas and polars that is
            installed, else rows. Without pyarrow a pandas DataFrame is made from JSON, its times are text.
        workspace: A folder of the workspace. Default: what the Jupyter server records in whose kernel this runs; elsewhere the
            workspace around the current directory.
        timeout: Seconds that the query may take.
        max_rows: Rows beyond are left out, with a warning (SyftSqlTruncated).
        memory_mb: Megabytes that the query may take.
        **named: Parameters by name, those called like an argument above excepted.

    Returns:
        What `as_` says.

    Raises:
        SyftSqlError: With a code, a message and, where it is known, the place in the text.
        TypeError: The value of a parameter is of a type that cannot be one.
        KeyboardInterrupt: The query is cancelled first.
    """
    if isinstance(parameters, Mapping) or parameters is None:
        parameters = {**(parameters or {}), **named}
    elif named:
        raise TypeError("Parameters are given in their order or by name, not both.")
    done = run(query, parameters, as_=as_, workspace=workspace, timeout=timeout, max_rows=max_rows, memory_mb=memory_mb)
    if done.left_out:
        warnings.warn(done.left_out, SyftSqlTruncated, stacklevel=2)
    return done.value


@dataclass(frozen=True)
class Done:
    """A query that was answered.

    Attributes:
        value: What `as_` says.
        summary: How many rows it has, and how long it took.
        left_out: That rows were left out, in words, or nothing.
    """

    value: Any
    summary: str
    left_out: str


def run(
    query: str,
    parameters: Mapping[str, Any] | Sequence[Any],
    *,
    as_: str | None = None,
    workspace: str | os.PathLike[str] | None = None,
    timeout: float = 10.0,
    max_rows: int = 1_000_000,
    memory_mb: int = 1024,
) -> Done:
    """As `sql`, but it leaves it to the caller to say that rows were left out."""
    kind, wire = choose(as_)
    text, _ = named_parameters(query)
    request = {
        "query": text,
        "parameters": bound(parameters),
        "format": wire,
        "maxRows": max_rows,
        "timeoutMs": round(timeout * 1000),
        "memoryMb": memory_mb,
        "queryId": secrets.token_urlsafe(12),
    }
    place = place_of(workspace)
    answer = _ask(place, request, wire, query, timeout + PATIENCE)
    if wire == "json" and len(answer.body) < 16 and json.loads(answer.body) == []:
        # No row says what the columns are, and whoever selects one of them must find it.
        question = {**request, "query": f"DESCRIBE {text}", "queryId": secrets.token_urlsafe(12)}
        with contextlib.suppress(SyftSqlError):
            said = json.loads(_ask(place, question, wire, query, timeout + PATIENCE).body)
            answer = replace(answer, columns=tuple((each["column_name"], each["column_type"]) for each in said))
    value = result_of(answer, kind)
    left_out = f"The query has more than {max_rows:,} rows; the rest was left out (max_rows)." if answer.truncated else ""
    return Done(value, summary(len(value), answer.elapsed_ms, answer.truncated), left_out)


def _ask(place: Place, request: dict[str, Any], wire: Wire, query: str, patience: float) -> Answer:
    connection = connect(place.log, patience)
    if connection is not None:
        # Closing it is what cancels a query that runs. Of one that only reads, who ended meanwhile need not be the last to be asked.
        with contextlib.closing(connection), contextlib.suppress(_Ended):
            return _ask_recorder(connection, request, wire, query)
    return _ask_command_line(place, request, wire, query)


class _Ended(Exception):
    """The recorder ended before it had answered, or breaks off for no reason that it says."""


def _ask_command_line(place: Place, request: dict[str, Any], wire: Wire, query: str) -> Answer:
    """Where nobody records: the command line reads the log itself. The query goes over a pipe, other users cannot list it."""
    try:
        command = [*command_line(), "-C", str(place.root), "--log", str(place.log), "--json", "sql", "--request"]
    except NotFound as missing:
        raise SyftSqlError("NOT_RUNNING", f"Nobody records {place.root}. {missing}", query) from missing
    began = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            body, said = process.communicate(json.dumps(request).encode())
        except BaseException:
            process.terminate()
            raise
    last: dict[str, Any] = {}
    with contextlib.suppress(ValueError, IndexError):
        last = json.loads(said.decode("utf-8", "replace").strip().splitlines()[-1])
    if process.returncode != 0:
        error = last.get("error") or {"code": "INTERNAL", "message": f"The command line ended with status {process.returncode}."}
        raise SyftSqlError.from_answer(error, query)
    return Answer(body, wire, last.get("truncated") is True, (time.monotonic() - began) * 1000)


def _ask_recorder(connection: Connection, request: dict[str, Any], wire: Wire, query: str) -> Answer:
    try:
        with connection.ask("POST", "/api/sql", request) as response:
            body = response.read()
            status = response.status
    except TimeoutError as error:
        raise SyftSqlError("NOT_RUNNING", "The recorder does not answer.", query) from error
    except (OSError, http.client.HTTPException) as error:
        # It breaks off what it cannot finish, and says why to who asks.
        outcome = _outcome(connection, request["queryId"])
        if "error" in outcome:
            raise SyftSqlError.from_answer(outcome["error"], query) from error
        raise _Ended from error
    if status != 200:
        raise SyftSqlError.from_answer(_error_in(body, status), query)
    outcome = _outcome(connection, request["queryId"])
    return Answer(body, wire, outcome.get("truncated") is True, outcome.get("elapsedMs"))


def _error_in(body: bytes, status: int) -> dict[str, Any]:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        error = json.loads(body)["error"]
        if isinstance(error, dict):
            return error
    return {"code": "INTERNAL", "message": f"The recorder answered with status {status}."}


def _outcome(connection: Connection, query_id: str) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        connection.close()
        with connection.ask("GET", f"/api/sql/queries/{query_id}") as response:
            outcome = json.loads(response.read())
            if response.status == 200 and isinstance(outcome, dict):
                return outcome
    return {}
