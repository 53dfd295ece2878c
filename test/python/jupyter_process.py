"""A real Jupyter server in a process of its own, in folders of its own."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

CHECKOUT = Path(__file__).resolve().parents[2]
NODE = CHECKOUT / "node_modules" / "node" / "bin" / "node"
BUNDLE = CHECKOUT / "server" / "dist" / "bundle" / "syft-sync.mjs"
TOKEN = "the-token-of-this-test"
PATIENCE = 60


def until(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of a condition, asked again and again."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited in vain: {what}")


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits for its parent to notice its end does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def environment_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def arguments_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


def script(path: Path, text: str) -> Path:
    """An executable file."""
    path.write_text(text)
    path.chmod(0o755)
    return path


def syft_sync(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, on the log of a workspace that nobody need have open."""
    command = [str(NODE), "--disable-warning=ExperimentalWarning", str(BUNDLE), "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)


def recorded(root: Path) -> set[str]:
    """What the log itself holds: the paths of all its changes."""
    done = syft_sync(root, "--json", "log")
    return {json.loads(line)["path"] for line in done.stdout.splitlines()}


class Answer:
    def __init__(self, response: http.client.HTTPResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = body

    @property
    def json(self) -> Any:
        assert self.headers.get_content_type() == "application/json", (self.status, self.headers, self.body[:500])
        return json.loads(self.body)


class Jupyter:
    """A running server: `with running(folder) as jupyter`."""

    def __init__(self, home: Path, config: dict[str, Any], extensions: set[str], env: dict[str, str], cwd: Path) -> None:
        self.home = home
        self.log_file = home / "jupyter.log"
        server = {
            "ip": "127.0.0.1",
            "port": 0,
            "allow_root": True,
            "open_browser": False,
            # All that is installed beside is not under test, and slow.
            "jpserver_extensions": {
                name: name in extensions
                for name in ("syft_sync", "jupyter_server_proxy", "jupyterlab", "jupyter_lsp", "notebook_shim", "jupyter_server_terminals")
            },
            **config.pop("ServerApp", {}),
        }
        config_dir = home / "config"
        config_dir.mkdir(parents=True)
        (config_dir / "jupyter_server_config.json").write_text(json.dumps({"ServerApp": server, **config}))
        self.root = Path(server["root_dir"])
        self.base_url = server.get("base_url", "/")
        dropped = ("XDG_", "JUPYTER", "SYFT_SYNC")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", "--debug"],
            cwd=cwd,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith(dropped)},
                "HOME": str(home),
                "XDG_RUNTIME_DIR": str(home),
                "JUPYTER_CONFIG_DIR": str(config_dir),
                "JUPYTER_DATA_DIR": str(home / "data"),
                "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
                "JUPYTER_TOKEN": TOKEN,
                **env,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.log_file.open("w"),
        )
        self.pid = self.process.pid
        until(self._answers, "Jupyter answers")

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            info = json.loads((self.home / "runtime" / f"jpserver-{self.pid}.json").read_text())
            self.port = info["port"]
            return self.get("api").status == 200
        except (OSError, ValueError, http.client.HTTPException):
            return False

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def open(self, method: str, path: str, **options: Any) -> http.client.HTTPResponse:
        """A request whose answer is read by the caller, below `base_url`; with the token unless `token=None`."""
        headers = dict(options.get("headers", {}))
        token = options.get("token", TOKEN)
        if token is not None:
            headers["Authorization"] = f"token {token}"
        connection = self.connection()
        connection.request(method, self.base_url + path, body=options.get("body"), headers=headers)
        return connection.getresponse()

    def request(self, method: str, path: str, **options: Any) -> Answer:
        with self.open(method, path, **options) as response:
            return Answer(response, response.read())

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return self.request("POST", path, body=json.dumps(body or {}), headers=headers, **options)

    def raw(self, data: bytes) -> bytes:
        """Sends bytes as they are; returns all that comes until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(data)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        return answer

    def status(self) -> dict[str, Any]:
        return self.get("syft-sync/status").json

    def sidecar(self) -> dict[str, Any]:
        """The status of the process once it runs."""
        return until(lambda: (status := self.status())["running"] and status, "the sidecar runs")

    def recording(self) -> dict[str, Any]:
        """The status of the workspace once it is recorded."""
        self.sidecar()
        return until(lambda: (s := self.get("syft-sync/api/status").json)["state"] == "recording" and s, "it records")

    def write(self, name: str, content: bytes) -> str:
        """Writes a file; returns the id of its version once it is recorded."""
        (self.root / name).write_bytes(content)
        query = urlencode({"path": name})

        def latest() -> Any:
            answer = self.get(f"syft-sync/api/history?{query}")
            changes = answer.json["changes"] if answer.status == 200 else []
            return changes and changes[0]["size"] == len(content) and changes[0]["versionId"]

        self.post("syft-sync/api/flush")
        return until(latest, f"{name} is recorded")

    def content(self, version: str) -> str:
        return f"syft-sync/api/versions/{quote(version)}/content"

    def end(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(with_signal)
        return self.process.wait(PATIENCE)


@contextmanager
def running(
    config: dict[str, Any] | None = None,
    *,
    extensions: tuple[str, ...] = ("syft_sync",),
    env: dict[str, str] | None = None,
    root: str = "work",
    cwd: str = ".",
    home: Path | None = None,
) -> Iterator[Jupyter]:
    """Starts a server on `root` in a folder of its own; ends it, and what it started, whatever happened."""
    # A unix socket's path is short, pytest's folders are not.
    place = home or Path(tempfile.mkdtemp(prefix="syft-py-")).resolve()
    jupyter: Jupyter | None = None
    try:
        (place / root).mkdir(parents=True, exist_ok=True)
        given = dict(config or {})
        given["ServerApp"] = {"root_dir": str(place / root), **given.get("ServerApp", {})}
        jupyter = Jupyter(place, given, set(extensions), env or {}, place / cwd)
        yield jupyter
    finally:
        if jupyter is not None and jupyter.process.poll() is None:
            try:
                jupyter.end()
            except subprocess.TimeoutExpired:
                jupyter.end(signal.SIGKILL)
        shutil.rmtree(place, ignore_errors=True)
