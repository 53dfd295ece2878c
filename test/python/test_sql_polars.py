"""Results as DataFrames of polars, which reads Arrow in its own way: with pyarrow and without it, and where there is no pandas."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jupyter_process import PATIENCE, syft_sync

pytestmark = pytest.mark.skipif(importlib.util.find_spec("polars") is None, reason="polars is not installed")

ASK = """
import json, sys
for name in filter(None, sys.argv[1].split(",")):
    sys.modules[name] = None
import syft_sync
kind = {} if sys.argv[2] == "" else {"as_": sys.argv[2]}
frame = syft_sync.sql(sys.argv[3], p="data.csv", **kind)
types = {name: str(dtype) for name, dtype in frame.schema.items()}
print(json.dumps([type(frame).__module__.split(".")[0], types, [[str(value) for value in row] for row in frame.rows()[:3]], len(frame), frame._repr_html_()]))
"""

EVERY_TYPE = """SELECT path, NULL::INTEGER AS nothing, 9007199254740993 AS big, 12345678901234567890123456789012345678::HUGEINT AS huge,
  1.50::DECIMAL(9, 2) AS exact, true AS yes, TIMESTAMPTZ '2024-02-29 01:02:03.000004+00' AS moment, DATE '2024-02-29' AS day, TIME '01:02:03.5' AS hour,
  [1, NULL] AS list, {'x': 1, 'y': 'z'} AS struct, 'u'::ENUM ('u', 'v') AS enum, '\\x00\\xFF'::BLOB AS bytes
FROM files WHERE path = $p"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("polars")
    (folder / "data.csv").write_bytes(b"a,b\n1,2\n")
    assert syft_sync(folder, "capture").returncode == 0
    return folder


def ask(workspace: Path, query: str, *, without: str = "", as_: str = "polars") -> list[Any]:
    """In a process of its own, to which packages are missing."""
    command = [sys.executable, "-c", ASK, without, as_, query]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    answer: list[Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("without", ["", "pyarrow"])
def test_every_digit_of_every_type_arrives(workspace: Path, without: str) -> None:
    library, types, rows, count, page = ask(workspace, EVERY_TYPE, without=without)
    assert (library, count) == ("polars", 1)
    assert {name: dtype.split("(")[0] for name, dtype in types.items()} == {
        "path": "String",
        "nothing": "Int32",
        "big": "Int64",
        "huge": "Decimal",
        "exact": "Decimal",
        "yes": "Boolean",
        "moment": "Datetime",
        "day": "Date",
        "hour": "Time",
        "list": "List",
        "struct": "Struct",
        "enum": "Categorical",
        "bytes": "Binary",
    }
    assert "time_zone='UTC'" in types["moment"]
    values = dict(zip(types, rows[0], strict=True))
    assert [values[name] for name in ("path", "nothing", "big", "huge", "exact", "moment", "day", "hour", "list", "enum")] == [
        "data.csv",
        "None",
        "9007199254740993",
        "12345678901234567890123456789012345678",
        "1.50",
        "2024-02-29 01:02:03.000004+00:00",
        "2024-02-29",
        "01:02:03.500000",
        "[1, None]",
        "u",
    ]
    assert "1 row in " in page
    assert "data.csv</td>" in page


def test_it_is_what_comes_where_there_is_no_pandas(workspace: Path) -> None:
    library, types, rows, count, _ = ask(workspace, "SELECT path, size FROM files WHERE path = $p", without="pandas", as_="")
    assert (library, list(types), rows, count) == ("polars", ["path", "size"], [["data.csv", "8"]], 1)


def test_no_rows_and_many_rows_arrive(workspace: Path) -> None:
    _, types, _, count, _ = ask(workspace, "SELECT path, size FROM files WHERE path <> $p")
    assert (types, count) == ({"path": "String", "size": "Int64"}, 0)
    many = "SELECT range AS n, 'row ' || range AS text FROM range(300000), files WHERE path = $p"
    _, _, rows, count, _ = ask(workspace, many, without="pyarrow")
    assert (rows[2], count) == (["2", "row 2"], 300_000)


@pytest.mark.parametrize("without", ["", "pyarrow"])
@pytest.mark.parametrize("value", ["[INTERVAL 1 DAY]", "(-170141183460469231731687303715884105728)::HUGEINT"])
def test_what_polars_cannot_hold_is_said_and_not_a_panic(workspace: Path, value: str, without: str) -> None:
    query = f"SELECT {value} AS odd FROM files WHERE path = $p"
    done = subprocess.run(
        [sys.executable, "-c", ASK, without, "polars", query], cwd=workspace, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 1
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("syft_sync.sql_error.SyftSqlError: polars cannot hold ")
    assert 'as_="arrow"' in last
    assert last.endswith("[SQL_INVALID]")
