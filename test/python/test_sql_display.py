"""Results and errors as a notebook shows them: whose file names are hostile must not run anything in the page."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pandas as pd
import pyarrow as pa
import pytest

from syft_sync.frames import Answer, result_of
from syft_sync.sql_error import SyftSqlError

HOSTILE = [
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    "\"><svg onload='alert(1)'>.csv",
    "&lt;b&gt;",
    "a\u202egnp.exe",
    "\x1b[31mred\x00",
]


def arrow(table: pa.Table, **more: object) -> Answer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return Answer(**{"body": sink.getvalue().to_pybytes(), "wire": "arrow", "truncated": False, "elapsed_ms": 12.4, **more})  # type: ignore[arg-type]


def shown(frame: object) -> str:
    return frame._repr_html_()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("kind", ["pandas", "rows"])
def test_nothing_of_a_result_is_taken_for_html(kind: str) -> None:
    table = pa.table({HOSTILE[0]: HOSTILE, "n": pa.array(range(len(HOSTILE)), pa.int64())})
    page = shown(result_of(arrow(table), kind))  # type: ignore[arg-type]
    assert "<script" not in page
    assert "<img" not in page
    assert "<svg" not in page
    assert page.count("<tr>") == len(HOSTILE) + 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&amp;lt;b&amp;gt;" in page
    # What cannot be seen, or turns text around, is named.
    assert "a\\u202egnp.exe" in page
    assert "\\u001b[31mred\\u0000" in page


def test_the_table_names_types_rows_and_time_and_marks_what_is_missing() -> None:
    at = pa.array([1_000_000, None], pa.timestamp("us", "UTC"))
    page = shown(result_of(arrow(pa.table({"at": at, "blob": [b"\x00\xff", None]}), truncated=True), "pandas"))
    assert "timestamp[us, tz=UTC]" in page
    assert "1970-01-01 00:00:01+00:00" in page
    assert "\\x00ff" in page
    assert page.count("<em>null</em>") == 2
    assert "2 rows in 12 ms; the query has more, see max_rows" in page


def test_of_a_long_result_both_ends_are_shown() -> None:
    frame = result_of(arrow(pa.table({"n": range(100_000), "text": ["x" * 100_000] * 3 + ["y"] * 99_997})), "pandas")
    page = shown(frame)
    assert "100,000 rows" in page
    assert page.count("<tr>") == 1 + 10 + 1 + 10
    assert ">0</td>" in page
    assert ">99999</td>" in page
    assert len(page) < 10_000


def test_a_wide_result_is_cut_and_says_so() -> None:
    page = shown(result_of(arrow(pa.table({f"c{i}": [i] for i in range(100)})), "pandas"))
    assert "… 40 more" in page


def test_only_the_result_itself_is_shown_so_and_only_while_it_is_the_result() -> None:
    frame = result_of(arrow(pa.table({"n": [1, 2]})), "pandas")
    assert isinstance(frame, pd.DataFrame)
    assert "int64" in shown(frame)
    for made in (frame.head(1), frame.copy(), copy.deepcopy(frame), pickle.loads(pickle.dumps(frame))):
        assert "in 12 ms" not in shown(made)
    frame["twice"] = frame["n"] * 2
    assert "in 12 ms" not in shown(frame)
    assert "twice" in shown(frame)
    # A display that kept its frame would keep its memory.
    gone = weakref.ref(frame)
    gc.disable()
    try:
        del frame, made
        assert gone() is None
    finally:
        gc.enable()


def test_rows_are_dictionaries_of_pythons_own_values() -> None:
    rows = result_of(arrow(pa.table({"n": [1, None], "name": ["a", "b"]})), "rows")
    assert rows == [{"n": 1, "name": "a"}, {"n": None, "name": "b"}]


def test_whole_numbers_stay_exact_beside_missing_ones() -> None:
    large = 2**63 - 1
    frame = result_of(arrow(pa.table({"n": [large, None], "u": pa.array([255, None], pa.uint8()), "all": [1, 2]})), "pandas")
    assert [str(dtype) for dtype in frame.dtypes] == ["Int64", "UInt8", "int64"]
    assert int(frame["n"][0]) == large
    assert frame["n"].isna().tolist() == [False, True]
    assert f">{large}</td>" in shown(frame)


def test_a_result_without_rows_keeps_its_columns() -> None:
    frame = result_of(arrow(pa.table({"path": pa.array([], pa.string())})), "pandas")
    assert list(frame.columns) == ["path"]
    assert "0 rows" in shown(frame)


@pytest.mark.parametrize(
    ("query", "units", "drawn"),
    [
        ("SELECT 1,\n\tpth FROM changes", 11, "line 2:\n  \tpth FROM changes\n  \t^"),
        # JavaScript counts some characters twice, terminals draw some twice as wide.
        ("SELECT '😀', pth", 13, "line 1:\n  SELECT '😀', pth\n               ^"),
        ("SELECT '列', é\u0301, pth", 16, "line 1:\n  SELECT '列', é\u0301, pth\n                  ^"),
        ("SELECT", 6, "line 1:\n  SELECT\n        ^"),
        ("SELECT", 999, "line 1:\n  SELECT\n        ^"),
    ],
)
def test_an_error_is_shown_under_its_place(query: str, units: int, drawn: str) -> None:
    position = {"offset": units, "line": 1, "column": 1}
    error = SyftSqlError.from_answer({"code": "SQL_INVALID", "message": "No column pth.", "position": position}, query)
    assert str(error) == f"No column pth. [SQL_INVALID]\n{drawn}"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.code, again.line, again.column) == (str(error), error.code, error.line, error.column)


def test_an_error_without_a_place_is_one_line() -> None:
    assert str(SyftSqlError("SQL_TIMEOUT", "It took too long.", "SELECT 1")) == "It took too long. [SQL_TIMEOUT]"
