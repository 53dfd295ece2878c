"""SQL in a notebook of a running server: nothing to configure, and no way for a value or a file name to do harm."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from jupyter_client import BlockingKernelClient
from jupyter_process import PATIENCE, Jupyter, environment_of, running, syft_sync, until

import syft_sync as library
from syft_sync.recorder import recorders

HOSTILE = "<img src=x onerror=alert(1)>'.csv"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Outcome:
    """All that a cell put out."""

    def __init__(self) -> None:
        self.data: dict[str, str] = {}
        self.printed = ""
        self.error = ""

    @property
    def text(self) -> str:
        assert not self.error, self.error
        return self.data.get("text/plain", "")


class Kernel:
    """A kernel that the Jupyter server started, for a notebook in a folder of its root."""

    def __init__(self, jupyter: Jupyter, folder: str) -> None:
        self.jupyter = jupyter
        body = {"path": f"{folder}/a.ipynb", "name": "a.ipynb", "type": "notebook", "kernel": {"name": "python3"}}
        self.id: str = jupyter.post("api/sessions", body).json["kernel"]["id"]
        connection_file = jupyter.home / "runtime" / f"kernel-{self.id}.json"
        self.client = BlockingKernelClient(connection_file=str(connection_file))
        self.client.load_connection_file()
        self.client.start_channels()
        until(self._ready, "the kernel answers")
        self.pid = int(self.run("import os; os.getpid()").text)
        assert not self.run("%load_ext syft_sync\nimport syft_sync, pandas as pd").error

    def _ready(self) -> bool:
        try:
            self.client.wait_for_ready(timeout=PATIENCE)
        except RuntimeError:
            # On a busy machine it is taken for dead before it has begun.
            return False
        return True

    def send(self, code: str) -> str:
        return self.client.execute(code, stop_on_error=False)

    def receive(self, request: str) -> Outcome:
        outcome = Outcome()
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            if message["msg_type"] in ("execute_result", "display_data"):
                outcome.data = content["data"]
            elif message["msg_type"] == "stream":
                outcome.printed += content["text"]
            elif message["msg_type"] == "error":
                outcome.error = ANSI.sub("", "\n".join(content["traceback"]))
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return outcome

    def run(self, code: str) -> Outcome:
        return self.receive(self.send(code))


@pytest.fixture(scope="module")
def jupyter() -> Iterator[Jupyter]:
    """Its log is where nobody finds it by looking around."""
    with running({"SyftSync": {"log_path": "../elsewhere/log"}}, cwd="work") as server:
        (server.root / "notebooks").mkdir()
        server.recording()
        server.write("data.csv", b"a,b\n1,2\n")
        server.write(HOSTILE, b"x\n")
        yield server


@pytest.fixture(scope="module")
def kernel(jupyter: Jupyter) -> Iterator[Kernel]:
    started = Kernel(jupyter, "notebooks")
    yield started
    started.client.stop_channels()


def test_a_cell_asks_the_sidecar_of_its_server_with_nothing_configured(kernel: Kernel) -> None:
    assert environment_of(kernel.pid)["JPY_PARENT_PID"] == str(kernel.jupyter.pid)
    for place in ("", "import os; os.chdir('/')"):
        kernel.run(place)
        done = kernel.run("%%syftsql\nSELECT path, size, changed_at FROM files WHERE path LIKE '%.csv' ORDER BY size")
        assert "data.csv" in done.text
        # What IPython shows is a DataFrame, and ours by how it looks.
        assert kernel.run("type(_).__name__, list(_['size']), str(_['changed_at'].dt.tz)").text == "('DataFrame', [2, 8], 'UTC')"
    page = done.data["text/html"]
    assert "2 rows in " in page
    assert "timestamp[us, tz=UTC]" in page
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;&#x27;.csv" in page


def test_the_kernel_is_given_no_secret(kernel: Kernel) -> None:
    """Whatever a kernel starts would inherit it."""
    locks = kernel.jupyter.home / "elsewhere" / "log" / "locks"
    [lock] = locks.glob("held.*")
    secret = json.loads(lock.read_text())["secret"]
    assert secret not in Path(f"/proc/{kernel.pid}/environ").read_text()
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    assert stat.S_IMODE(locks.stat().st_mode) == 0o700


def test_values_of_variables_are_bound_and_never_pasted(kernel: Kernel) -> None:
    setup = f"name = {HOSTILE!r}\nattack = \"' OR 1=1 --\"\nnames = pd.Series([name, 'data.csv'])\nsize = 5"
    kernel.run(setup)
    query = "SELECT count(*) AS n FROM files WHERE"
    for condition, count in (("path = $name", 1), ("path = $attack", 0), ("path IN $names AND size < :size", 1)):
        done = kernel.run(f"found = %syftsql {query} {condition}\nint(found['n'][0])")
        assert (done.text, condition) == (str(count), condition)
    # IPython itself would replace {…} and $name in the line of a magic.
    assert kernel.run("found = %syftsql SELECT '{size} $size' AS t\nfound['t'][0]").text == "'{size} $size'"
    local = "def count(path):\n    found = %syftsql SELECT count(*) AS n FROM files WHERE path = $path\n    return int(found['n'][0])"
    assert kernel.run(f"{local}\ncount('data.csv'), count('absent.csv')").text == "(1, 0)"
    # By the function: in their order, by name, and with a name that is also an argument's.
    assert kernel.run("syft_sync.sql('SELECT ? AS a, ? AS b', [1, 'x'], as_='rows')").text == "[{'a': 1, 'b': 'x'}]"
    assert kernel.run("syft_sync.sql('SELECT $a AS a, $timeout AS t', {'timeout': 'x'}, a=[1, 2], as_='rows')").text == (
        "[{'a': [1, 2], 't': 'x'}]"
    )
    assert "There is no Python variable absent" in kernel.run("%syftsql SELECT $absent").error


def test_a_result_goes_into_a_variable(kernel: Kernel) -> None:
    done = kernel.run("%%syftsql --as rows mine <<\nSELECT 1 AS one")
    assert re.fullmatch(r"mine: 1 row in [\d,]+ ms\n", done.printed)
    assert done.data == {}
    assert kernel.run("mine").text == "[{'one': 1}]"


def test_an_error_is_shown_at_its_place_in_the_cell_and_nothing_else_is(kernel: Kernel) -> None:
    done = kernel.run("%%syftsql\nSELECT path\nFROM changes\nWHERE pth = 1")
    said = done.error.split("\n")
    assert said[0].startswith("SyftSqlError: ")
    assert said[0].endswith("[SQL_INVALID]")
    assert "pth" in said[0]
    assert said[1:] == ["line 4 of the cell:", "  WHERE pth = 1", "        ^"]
    assert kernel.run("%%syftsql SELECT\n1 1").error.split("\n")[1] == "line 2 of the cell:"
    assert "[SQL_FORBIDDEN]" in kernel.run("%syftsql DROP TABLE changes").error
    assert "there is no --format" in kernel.run("%%syftsql --format csv\nSELECT 1").printed
    assert "takes a number" in kernel.run("%%syftsql --timeout soon\nSELECT 1").printed


def test_what_is_left_out_is_said(kernel: Kernel) -> None:
    for _ in range(2):
        done = kernel.run("%%syftsql --max-rows 10\nSELECT * FROM range(11)")
        assert "10 rows in" in done.data["text/html"]
        assert "the query has more" in done.data["text/html"]
        assert "SyftSqlTruncated: The query has more than 10 rows" in done.printed
    assert "SyftSqlTruncated" in kernel.run("len(syft_sync.sql('SELECT * FROM range(11)', max_rows=10))").printed
    assert kernel.run("%%syftsql --max-rows 11\nSELECT * FROM range(11)").printed == ""


LONG = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"


def test_a_query_that_takes_too_long_is_stopped(kernel: Kernel) -> None:
    assert "[SQL_TIMEOUT]" in kernel.run(f"%%syftsql --timeout 0.2\n{LONG}").error


def test_interrupting_the_kernel_cancels_the_query(kernel: Kernel) -> None:
    name = "syft_sync.query.secrets.token_urlsafe = lambda _: 'interrupted'\nimport time; began = time.monotonic()"
    kernel.run(f"import syft_sync.query\n{name}")
    request = kernel.send(f"print('begun', flush=True)\nsyft_sync.sql('{LONG}', timeout=600)")
    outcome = "syft-sync/api/sql/queries/interrupted"
    until(lambda: kernel.jupyter.get(outcome).status == 200, "the query runs")
    assert kernel.jupyter.get(outcome).json["state"] == "running"
    kernel.jupyter.post(f"api/kernels/{kernel.id}/interrupt")
    assert "KeyboardInterrupt" in kernel.receive(request).error
    until(lambda: kernel.jupyter.get(outcome).json["state"] == "cancelled", "the query is cancelled")
    kernel.run("import importlib, secrets; importlib.reload(secrets)")
    assert kernel.run("syft_sync.sql('SELECT 1 AS one', as_='rows')").text == "[{'one': 1}]"


def test_a_million_rows_arrive_whole(kernel: Kernel) -> None:
    query = "SELECT range AS n, 'row ' || range AS text FROM range(1000000)"
    code = f"big = syft_sync.sql({query!r})\nlen(big), int(big['n'].sum()), big['text'].iloc[-1]"
    assert kernel.run(code).text == "(1000000, 499999500000, 'row 999999')"


def test_a_sidecar_that_was_started_again_is_found_again(kernel: Kernel) -> None:
    before = kernel.jupyter.sidecar()["pid"]
    os.kill(before, signal.SIGKILL)
    # Meanwhile the command line reads the log.
    assert kernel.run("syft_sync.sql('SELECT count(*) AS n FROM files WHERE path = $p', p='data.csv', as_='rows')").text == "[{'n': 1}]"
    until(lambda: kernel.jupyter.status().get("pid") not in (None, before), "another sidecar runs")
    kernel.jupyter.recording()
    assert kernel.run("syft_sync.sql('SELECT 1 AS one', as_='rows')").text == "[{'one': 1}]"


BLOCKED = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
import syft_sync
result = syft_sync.sql("SELECT path, size, NULL AS nothing FROM files WHERE path = $p", p="data.csv")
print(type(result).__name__, result.values.tolist() if hasattr(result, "values") else list(result), "data.csv</td>" in result._repr_html_())
empty = syft_sync.sql("SELECT path, size FROM files WHERE path = $p", p="absent")
print(len(empty), [column if isinstance(column, str) else column.name for column in empty.columns])
try:
    syft_sync.sql("SELECT 1", as_="arrow")
except syft_sync.SyftSqlError as error:
    print(error)
"""


def test_without_pyarrow_and_without_pandas_there_is_less_but_never_nothing(kernel: Kernel) -> None:
    environment = {**os.environ, **environment_of(kernel.pid)}
    for blocked, first in (
        ("pyarrow", "DataFrame [['data.csv', 8, None]] True"),
        ("pyarrow,pandas,polars", "Rows [{'path': 'data.csv', 'size': 8, 'nothing': None}] True"),
    ):
        command = [sys.executable, "-c", BLOCKED, blocked]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE, env=environment)
        assert done.stdout.splitlines() == [
            first,
            "0 ['path', 'size']",
            'as_="arrow" needs pyarrow in this environment: pip install pyarrow [SQL_UNAVAILABLE]',
        ], done.stderr


def test_outside_of_jupyter_a_workspace_is_asked_with_and_without_a_recorder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "data.csv").write_bytes(b"a\n")
    assert syft_sync(tmp_path, "capture").returncode == 0
    found = library.sql("SELECT path FROM files WHERE path IN $paths", paths=["data.csv"], workspace=tmp_path / "deep")
    assert isinstance(found, pd.DataFrame)
    assert list(found["path"]) == ["data.csv"]
    with pytest.raises(library.SyftSqlError) as raised:
        library.sql("SELECT\n  pth FROM files", workspace=tmp_path)
    assert str(raised.value).endswith("line 2:\n    pth FROM files\n    ^")
    nowhere = tmp_path.parent / "nowhere"
    nowhere.mkdir()
    with pytest.raises(library.SyftSqlError) as raised:
        library.sql("SELECT 1", workspace=nowhere)
    assert raised.value.code == "LOG_MISSING"


def test_a_lock_that_others_could_have_written_is_not_believed(jupyter: Jupyter, tmp_path: Path) -> None:
    """A log may come from somebody else, and its locks could name a socket where somebody waits for the secret or the query."""
    [real] = (jupyter.home / "elsewhere" / "log" / "locks").glob("held.*")
    locks = tmp_path / "locks"
    locks.mkdir()
    lock = locks / "held.0123456789abcdef"
    lock.write_text(real.read_text())
    lock.chmod(0o600)
    assert len(list(recorders(tmp_path))) == 1
    lock.chmod(0o644)
    assert list(recorders(tmp_path)) == []
    lock.chmod(0o600)
    for text in ("", "{}", "[]", '{"socket": 5}', json.dumps({"pid": 1, "socket": str(lock), "secret": "s"}), "x" * 100_000):
        lock.write_text(text)
        assert list(recorders(tmp_path)) == []
