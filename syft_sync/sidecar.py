"""The life of the sidecar process: start, watch over, restart, stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from .locate import Node, NotFound, find_bundle, find_node

READY_SECONDS = 60.0
STOP_SECONDS = 8.0
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
# A sidecar that has lived this long has shown that it can: the next crash starts counting anew.
STEADY_SECONDS = 60.0
LOG_LINES_A_SECOND = 50
PINO_LEVELS = {10: logging.DEBUG, 20: logging.DEBUG, 30: logging.INFO, 40: logging.WARNING, 50: logging.ERROR, 60: logging.ERROR}


def _socket_directory() -> Path:
    """A private directory with a short name: a unix socket's path holds 108 bytes."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if not (base and len(base) < 60 and os.access(base, os.W_OK)):
        base = tempfile.gettempdir()
    if len(base) >= 60:
        base = "/tmp"
    return Path(tempfile.mkdtemp(prefix="syft-sync-", dir=base))


class Sidecar:
    """Runs the sidecar for one root and keeps it running until `stop`."""

    def __init__(
        self,
        root: str,
        log: logging.Logger,
        *,
        node: str = "",
        log_path: str = "",
        exclude: list[str] | None = None,
        app_dirs: list[Path] | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self.root = root
        self.log = log
        self.secret = secrets.token_hex(32)
        self.restarts = 0
        self._node_setting = node
        self._log_path = log_path
        self._exclude = exclude or []
        self._app_dirs = app_dirs or []
        self._env = env or {}
        self._node: Node | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._running = asyncio.Event()
        self._wake = asyncio.Event()
        self._stopping = False
        self._problem: dict[str, str] | None = {
            "reason": "starting",
            "message": "The sidecar is starting.",
            "hint": "This takes a moment.",
        }
        self._last_words: list[str] = []
        self._directory: Path | None = None

    @property
    def socket_path(self) -> str:
        if self._directory is None:
            self._directory = _socket_directory()
        return str(self._directory / "s.sock")

    @property
    def running(self) -> bool:
        return self._running.is_set()

    def status(self) -> dict[str, Any]:
        """What the panel needs to know about the process, whether it runs or not."""
        answer: dict[str, Any] = {"running": self.running, "restarts": self.restarts, "root": self.root}
        if self._process is not None and self._process.returncode is None:
            answer["pid"] = self._process.pid
        if self._node is not None:
            answer["node"] = {"path": self._node.path, "version": self._node.version}
        if not self.running and self._problem is not None:
            answer.update(self._problem)
        return answer

    def start(self) -> None:
        """Begins to run and watch over the sidecar; returns at once."""
        if self._task is None or self._task.done():
            self._stopping = False
            self._task = asyncio.get_running_loop().create_task(self._watch_over())

    def disable(self) -> None:
        """Says that recording was switched off."""
        self._problem = {
            "reason": "disabled",
            "message": "Syft Sync is switched off in the configuration of the Jupyter server.",
            "hint": "Set c.SyftSync.enabled = True and restart the server.",
        }

    def abandon(self) -> None:
        """For the very end of this process: closes the life line and removes the socket; waits for nothing."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None and process.stdin is not None:
            with contextlib.suppress(Exception):
                process.stdin.close()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def restart_now(self) -> None:
        """Ends the pause before the next try, if there is one."""
        self._wake.set()
        self.start()

    async def wait_running(self, seconds: float) -> bool:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._running.wait(), seconds)
        return self.running

    async def stop(self) -> None:
        """Closes the life line and waits; a sidecar that does not leave is made to."""
        self._stopping = True
        self._wake.set()
        process = self._process
        if process is not None and process.returncode is None:
            if process.stdin is not None:
                process.stdin.close()
            for ask in (lambda: None, process.terminate, process.kill):
                with contextlib.suppress(ProcessLookupError):
                    ask()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(process.wait(), STOP_SECONDS)
                    break
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    async def _watch_over(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping:
            began = time.monotonic()
            try:
                code = await self._run_once()
                words = f" Its last words: {self._last_words[-1]}" if self._last_words else ""
                self._problem = {
                    "reason": "crashed",
                    "message": f"The sidecar ended with status {code}.{words}",
                    "hint": "It is started again by itself. If this goes on, the log of the Jupyter server says more.",
                }
                if not self._stopping:
                    self.log.warning("Syft Sync: the sidecar ended with status %s; it is started again", code)
            except NotFound as missing:
                self._problem = {"reason": missing.reason, "message": missing.message, "hint": missing.hint}
                self.log.warning("Syft Sync: %s %s", missing.message, missing.hint)
                pause = LONGEST_PAUSE
            except OSError as error:
                self._problem = {
                    "reason": "crashed",
                    "message": f"The sidecar could not be started: {error}",
                    "hint": "The log of the Jupyter server says more.",
                }
                self.log.warning("Syft Sync: the sidecar could not be started: %s", error)
            self._running.clear()
            if self._stopping:
                return
            if time.monotonic() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE
            self._wake.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)
                pause = FIRST_PAUSE / 2
            pause = min(pause * 2, LONGEST_PAUSE)
            self.restarts += 1

    def _command(self, node: Node, bundle: Path) -> list[str]:
        command = [node.path, "--disable-warning=ExperimentalWarning", str(bundle), "-C", self.root]
        if self._log_path:
            command += ["--log", self._log_path]
        command += ["serve", "--socket", self.socket_path, "--stdin-lifeline"]
        for pattern in self._exclude:
            command += ["--exclude", pattern]
        return command

    async def _run_once(self) -> int:
        """Runs one process to its end; returns its exit status."""
        loop = asyncio.get_running_loop()
        node = await loop.run_in_executor(None, find_node, self._node_setting)
        bundle = find_bundle(self._app_dirs)
        self._node = node
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket_path)
        env = {**os.environ, **self._env, "SYFT_SYNC_SECRET": self.secret}
        # What belongs to Jupyter is none of the sidecar's business.
        env.pop("JUPYTER_TOKEN", None)
        self._last_words = []
        process = await asyncio.create_subprocess_exec(
            *self._command(node, bundle),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            # Ctrl-C in the terminal is Jupyter's: the sidecar ends when its life line does.
            start_new_session=True,
        )
        self._process = process
        try:
            logging_task = loop.create_task(self._forward_log(process))
            ready = await self._wait_ready(process)
            if ready:
                self._problem = None
                self._running.set()
                self.log.info("Syft Sync: recording %s (pid %s)", self.root, process.pid)
            elif process.returncode is None:
                process.terminate()
            code = await process.wait()
            await logging_task
            return code
        finally:
            self._running.clear()
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

    async def _wait_ready(self, process: asyncio.subprocess.Process) -> bool:
        """True when the process says that it listens. What it prints afterwards is passed over."""
        assert process.stdout is not None

        async def listening() -> bool:
            while line := await process.stdout.readline():
                with contextlib.suppress(ValueError):
                    if "listening" in json.loads(line):
                        return True
            return False

        try:
            ready = await asyncio.wait_for(listening(), READY_SECONDS)
        except asyncio.TimeoutError:
            return False
        if ready:
            asyncio.get_running_loop().create_task(self._drain(process.stdout))
        return ready

    @staticmethod
    async def _drain(stream: asyncio.StreamReader) -> None:
        while await stream.read(65536):
            pass

    async def _forward_log(self, process: asyncio.subprocess.Process) -> None:
        """The sidecar's structured log, at the right levels, no more than a server's log can bear."""
        assert process.stderr is not None
        second, lines = 0, 0
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:
                # A line longer than the buffer: nothing of ours is.
                continue
            if not line:
                return
            now = int(time.monotonic())
            second, lines = (now, 1) if now != second else (second, lines + 1)
            text = line.decode("utf-8", "replace").rstrip()
            level, message = logging.INFO, text
            with contextlib.suppress(ValueError, AttributeError):
                entry = json.loads(text)
                level = PINO_LEVELS.get(entry.get("level"), logging.INFO)
                message = str(entry.get("msg", text))
                detail = entry.get("message") or entry.get("reason")
                if detail:
                    message = f"{message}: {detail}"
            if level >= logging.WARNING or not text.startswith("{"):
                self._last_words = [*self._last_words[-4:], message]
            if lines <= LOG_LINES_A_SECOND:
                self.log.log(level, "Syft Sync sidecar: %s", message)
