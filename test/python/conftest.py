"""What the tests of the server extension share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jupyter_process import BUNDLE, Jupyter, running


def pytest_sessionstart() -> None:
    if not BUNDLE.is_file():
        pytest.exit("The sidecar is not built: run `npm run build:server`.", returncode=1)


@pytest.fixture(scope="module")
def jupyter() -> Iterator[Jupyter]:
    """One server for the tests of a module that leave it as they found it."""
    with running() as server:
        server.recording()
        yield server
