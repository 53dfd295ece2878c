"""The notebook that shows SQL, as who follows it runs it: a cell that fails there is the first that a new user sees."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest
from jupyter_process import CHECKOUT, Jupyter, running
from test_sql_notebook import Kernel, Outcome

EXAMPLES = CHECKOUT / "examples"


@pytest.fixture(scope="module")
def outcomes() -> Iterator[list[Outcome]]:
    """What each cell of code puts out, from top to bottom, in a workspace that is a copy of the examples."""
    notebook = json.loads((EXAMPLES / "3-history.ipynb").read_text())
    with running() as jupyter:
        shutil.copytree(EXAMPLES, jupyter.root, dirs_exist_ok=True)
        jupyter.recording()
        kernel = Kernel(jupyter, ".")
        # The history of a user begins before the first cell, too.
        wait_for(jupyter, "data/counts.csv")
        try:
            yield [kernel.run("".join(cell["source"])) for cell in notebook["cells"] if cell["cell_type"] == "code"]
        finally:
            kernel.client.stop_channels()


def wait_for(jupyter: Jupyter, path: str) -> None:
    jupyter.write(path, (EXAMPLES / path).read_bytes())


def test_every_cell_runs_and_shows_what_is_said_above_it(outcomes: list[Outcome]) -> None:
    assert [outcome.error for outcome in outcomes] == [""] * len(outcomes)
    _, files, corrected, into, versions, averages, differences, chart = outcomes
    assert "data/counts.csv" in files.text
    assert "5 rows in " in files.data["text/html"]
    assert corrected.printed == "3 days left out\n"
    assert into.printed.startswith("versions: 2 rows in ")
    assert ["modified", "created"] == [word for word in versions.text.split() if word in ("modified", "created")]
    before, after = averages.text.splitlines()[1:]
    assert (before.split()[:2], after.split()[:2]) == (["-1", "366"], ["latest", "363"])
    assert "3 rows in " in differences.data["text/html"]
    assert differences.text.count("removed") == 3
    assert chart.data["image/png"]
