"""Reaches the process that records a workspace: the lock of the log names its unix socket and the secret of its launch.

Both are readable by this user only. Nothing else is needed: no token of Jupyter, no address, no certificate.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The server extension tells kernels by these what it records.
ROOT_VARIABLE = "SYFT_SYNC_JUPYTER_ROOT"
LOG_VARIABLE = "SYFT_SYNC_JUPYTER_LOG"
LOG_NAME = ".syft-sync"
HELD = re.compile(r"held\.[0-9a-f]{16}")
LARGEST_LOCK = 1 << 16


@dataclass(frozen=True)
class Place:
    """A workspace and its log."""

    root: Path
    log: Path


def place_of(workspace: str | os.PathLike[str] | None = None) -> Place:
    """The workspace to ask: the one named, else the one of the Jupyter server in whose kernel this runs, else the one around the
    current directory."""
    if workspace is None:
        root, log = os.environ.get(ROOT_VARIABLE), os.environ.get(LOG_VARIABLE)
        # Terminals of the same server inherit them too, and may be about something else.
        if root and log and "JPY_PARENT_PID" in os.environ:
            return Place(Path(root), Path(log))
    start = Path(workspace or ".").expanduser().resolve()
    around = next((folder for folder in (start, *start.parents) if (folder / LOG_NAME).is_dir()), start)
    return Place(around, around / LOG_NAME)


@dataclass(frozen=True)
class Recorder:
    """A recorder that holds the lock of a log."""

    pid: int
    socket: str
    secret: str


def _mine(path: Path, kind: int) -> bool:
    """Whether a file is of this user, who alone may use it."""
    found = path.lstat()
    return found.st_uid == os.getuid() and stat.S_IFMT(found.st_mode) == kind and not found.st_mode & 0o077


def recorders(log: Path) -> Iterator[Recorder]:
    """Those that hold the lock of a log and can be asked; a killed one may have left its own."""
    try:
        names = [name for name in os.listdir(log / "locks") if HELD.fullmatch(name)]
    except OSError:
        return
    for name in names:
        lock = log / "locks" / name
        # A log may have come from somebody else, its locks with it: the secret goes to nobody but this user's own recorder.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if not _mine(lock, stat.S_IFREG) or lock.stat().st_size > LARGEST_LOCK:
                continue
            holder = json.loads(lock.read_bytes())
            if _mine(Path(holder["socket"]), stat.S_IFSOCK):
                yield Recorder(int(holder["pid"]), str(holder["socket"]), str(holder["secret"]))


class Connection(http.client.HTTPConnection):
    """HTTP over the socket of a recorder."""

    def __init__(self, recorder: Recorder, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._recorder = recorder

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._recorder.socket)

    def ask(self, method: str, path: str, body: Any = None) -> http.client.HTTPResponse:
        """Sends one request; the answer is read by the caller."""
        headers = {"X-Syft-Sync-Secret": self._recorder.secret, "X-Syft-Sync-Request": "1"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.request(method, path, None if body is None else json.dumps(body).encode(), headers)
        return self.getresponse()


def connect(log: Path, timeout: float) -> Connection | None:
    """A connection to the recorder of a log; None when none runs.

    Args:
        timeout: Seconds without a byte until it is given up.
    """
    for recorder in recorders(log):
        connection = Connection(recorder, timeout)
        try:
            connection.connect()
        except OSError:
            connection.close()
        else:
            return connection
    return None
