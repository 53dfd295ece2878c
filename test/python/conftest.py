"""What the tests of the server extension share."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from jupyter_process import BUNDLE, Jupyter, running


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--grep", default="", help="Only tests whose name, with spaces for underscores, matches.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """As the other runners select: `-k` takes an expression of its own, in which most titles are an error."""
    pattern = re.compile(config.getoption("--grep"))
    left_out = [item for item in items if not pattern.search(item.name.replace("_", " "))]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_sessionstart() -> None:
    if not BUNDLE.is_file():
        pytest.exit("The sidecar is not built: run `npm run build:server`.", returncode=1)


@pytest.fixture(scope="module")
def jupyter() -> Iterator[Jupyter]:
    """One server for the tests of a module that leave it as they found it."""
    with running() as server:
        server.recording()
        yield server
