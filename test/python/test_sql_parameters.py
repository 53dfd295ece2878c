"""Values from Python reach a query whole and are never read as a part of its text."""

from __future__ import annotations

import datetime
import pathlib
import time
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from syft_sync.parameters import bound, from_variables, named_parameters
from syft_sync.sql_error import SyftSqlError


def names(query: str) -> list[str]:
    return [parameter.name for parameter in named_parameters(query)[1]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("SELECT $a, :b, foo(:c) WHERE x=:d AND y = $a", ["a", "b", "c", "d", "a"]),
        ("SELECT $größe, $_1", ["größe", "_1"]),
        # None of these is a parameter.
        ("SELECT '$a' || ':a' || 'it''s $a' || E'\\' $a'", []),
        ('SELECT "$a", "x""$a"', []),
        ("SELECT 1 -- $a\n/* :a\n$a */", []),
        ("SELECT $$ $a $$, $tag$ $a $$ :a $tag$, $tag", ["tag"]),
        ("SELECT at::DATE, x[a:b], l[:a], {'key':value}, {k: :a}, list_transform(l, lambda x:x+1)", []),
        ("SELECT a$b, $1, ?", []),
        # An open quote is the query's own error, and is shown by who reads it.
        ("SELECT 'open $a", ["a"]),
    ],
)
def test_parameters_are_found_where_they_are_and_nowhere_else(query: str, found: list[str]) -> None:
    text, _ = named_parameters(query)
    assert names(query) == found
    # A place in the one text is the same place in the other, for errors.
    assert len(text) == len(query)
    assert names(text) == found


def test_a_colon_becomes_the_dollar_that_the_sidecar_binds() -> None:
    text, _ = named_parameters("SELECT at::DATE FROM changes WHERE path = :path AND note <> ':path'")
    assert text == "SELECT at::DATE FROM changes WHERE path = $path AND note <> ':path'"


def test_only_variables_that_the_query_names_are_taken() -> None:
    variables = {"path": "a'b", "secret": "not asked for"}
    assert from_variables("SELECT $path, ':secret'", variables) == {"path": "a'b"}
    with pytest.raises(SyftSqlError) as raised:
        from_variables("SELECT 1,\n  :absent", variables)
    assert "There is no Python variable absent" in str(raised.value)
    assert str(raised.value).endswith("line 2:\n    :absent\n    ^")


@pytest.mark.parametrize(
    ("value", "carried"),
    [
        ("a'; DROP TABLE changes --", "a'; DROP TABLE changes --"),
        (True, True),
        (2**53 - 1, 2**53 - 1),
        (0.5, 0.5),
        (None, None),
        (float("nan"), None),
        (pd.NA, None),
        (pd.NaT, None),
        (np.datetime64("NaT"), None),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.PurePosixPath("data/a.csv"), "data/a.csv"),
        (datetime.date(2026, 11, 1), "2026-11-01"),
        (pd.Timestamp("2026-11-01 14:32", tz="Europe/Berlin"), "2026-11-01 13:32:00+00:00"),
        (["a", None], ["a", None]),
        (("a",), ["a"]),
        (range(2), [0, 1]),
        (np.array([1, 2]), [1, 2]),
        (pd.Series(["a", None]), ["a", None]),
        (pd.Index([1, 2]), [1, 2]),
        ([], []),
    ],
)
def test_values_arrive_as_they_are(value: Any, carried: Any) -> None:
    sent = bound({"value": value})
    assert sent == {"value": carried}
    assert type(sent["value"]) is type(carried)


def test_a_time_without_a_zone_is_local_time_as_python_means_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        naive = datetime.datetime(2026, 11, 1, 9)
        same = [naive, pd.Timestamp(naive), np.datetime64(naive, "us"), np.datetime64(naive, "ns"), pd.Series([naive])]
        sent = bound(same)
        assert sent[:4] == ["2026-11-01 00:00:00+00:00"] * 4
        assert sent[4] == ["2026-11-01 00:00:00+00:00"]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("value", [b"bytes", 2**53, float("inf"), {"a": 1}, [["nested"]], object(), np.zeros((2, 2))])
def test_what_could_not_arrive_whole_is_refused_by_name(value: Any) -> None:
    with pytest.raises(TypeError, match="The parameter value is"):
        bound({"value": value})
