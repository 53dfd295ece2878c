"""The life of the sidecar process: start, watch over, restart, stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from .locate import NODE_FLAGS, Node, NotFound, find_bundle, find_node

READY_SECONDS = 60.0
STOP_SECONDS = 8.0
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
# A sidecar that has lived this long has shown that it can: the next crash starts counting anew.
STEADY_SECONDS = 60.0
LOG_LINES_A_SECOND = 50
LONGEST_LOG_LINE = 1 << 20
PINO_LEVELS = {10: logging.DEBUG, 20: logging.DEBUG, 30: logging.INFO, 40: logging.WARNING, 50: logging.ERROR, 60: logging.ERROR}
# What belongs to Jupyter is none of the sidecar's business.
NOT_PASSED_ON = ("JUPYTER_TOKEN", "JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN")
# glibc keeps what is freed for itself unless told otherwise, with 100,000 files some hundred megabytes. Others ignore these.
ALLOCATOR = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}

STARTING = {"reason": "starting", "message": "The sidecar is starting.", "hint": "This takes a moment."}
DISABLED = {
    "reason": "disabled",
    "message": "Syft Sync is switched off in the configuration of the Jupyter server.",
    "hint": "Set c.SyftSync.enabled = True and restart the server.",
}


def _socket_directory() -> Path:
    """A new private directory with a short name: a unix socket's path holds 108 bytes."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if not (base and len(base) < 60 and os.access(base, os.W_OK)):
        base = tempfile.gettempdir()
    if len(base) >= 60:
        base = "/tmp"
    return Path(tempfile.mkdtemp(prefix="syft-sync-", dir=base))


def _ended(code: int) -> str:
    with contextlib.suppress(ValueError):
        if code < 0:
            return f"The sidecar was ended by {signal.Signals(-code).name}."
    return f"The sidecar ended with status {code}."


def _crashed(message: str) -> dict[str, str]:
    hint = "It is started again by itself. If this goes on, the log of the Jupyter server says more."
    return {"reason": "crashed", "message": message, "hint": hint}


class Sidecar:
    """Runs the sidecar for one root and keeps it running until `stop`."""

    def __init__(
        self,
        root: str,
        log: logging.Logger,
        *,
        arguments: list[str],
        node: str = "",
        app_dirs: list[Path] | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self.root = root
        self.log = log
        # Both are of one launch.
        self.secret = ""
        self.socket_path = ""
        self.restarts = 0
        self._arguments = arguments
        self._node_setting = node
        self._app_dirs = app_dirs or []
        self._env = env or {}
        self._node: Node | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        # Set while it runs, and while it is known why it does not.
        self._settled = asyncio.Event()
        self._wake = asyncio.Event()
        self._stopping = False
        self._problem: dict[str, str] | None = STARTING
        self._last_words = ""
        self._directory: Path | None = None

    @property
    def problem(self) -> dict[str, str] | None:
        """Why it does not run: reason, message and hint; None when it runs."""
        code = self._process.returncode if self._process is not None else None
        # It may have ended, and our turn to take note of it not have come yet.
        return _crashed(_ended(code)) if self._problem is None and code is not None else self._problem

    @property
    def running(self) -> bool:
        return self.problem is None

    def status(self) -> dict[str, Any]:
        """What the panel needs to know about the process, whether it runs or not."""
        problem = self.problem
        answer: dict[str, Any] = {"running": problem is None, "restarts": self.restarts, "root": self.root}
        if self._process is not None and self._process.returncode is None:
            answer["pid"] = self._process.pid
        if self._node is not None:
            answer["node"] = {"path": self._node.path, "version": self._node.version}
        return {**answer, **(problem or {})}

    def start(self) -> None:
        """Begins to run and watch over the sidecar; returns at once."""
        self._task = asyncio.get_running_loop().create_task(self._watch_over())

    def disable(self) -> None:
        """Says that recording was switched off."""
        self._settle(DISABLED)

    def abandon(self) -> None:
        """For the very end of this process: closes the life line and removes the socket; waits for nothing."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None and process.stdin is not None:
            with contextlib.suppress(Exception):
                process.stdin.close()
        self._remove_directory()

    def restart_now(self) -> None:
        """Ends the pause before the next try, if there is one."""
        if self._task is not None and not self.running:
            self._settle(STARTING)
            self._wake.set()

    async def settled(self, seconds: float) -> bool:
        """Waits while the sidecar starts; whether it runs."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._settled.wait(), seconds)
        return self.running

    async def stop(self) -> None:
        """Closes the life line and waits; a sidecar that does not leave is made to."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None and process.stdin is not None:
            process.stdin.close()
            for insist in (process.terminate, process.kill):
                try:
                    await asyncio.wait_for(process.wait(), STOP_SECONDS)
                    break
                except asyncio.TimeoutError:
                    insist()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _settle(self, problem: dict[str, str] | None) -> None:
        self._problem = problem
        if problem is STARTING:
            self._settled.clear()
        else:
            self._settled.set()

    async def _watch_over(self) -> None:
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            wait = None
            try:
                words = _ended(await self._run_once())
                problem = _crashed(f"{words} Its last words: {self._last_words}" if self._last_words else words)
            except NotFound as missing:
                problem = {"reason": missing.reason, "message": missing.message, "hint": missing.hint}
                wait = LONGEST_PAUSE
            except OSError as error:
                problem = _crashed(f"The sidecar could not be started: {error}")
            if self._stopping:
                return
            if time.monotonic() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE
            wait = wait or pause
            self._settle(problem)
            more = "" if problem["reason"] == "crashed" else f" {problem['hint']}"
            self.log.warning("Syft Sync: %s%s The next try is in %g s.", problem["message"], more, wait)
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), wait)
                pause = FIRST_PAUSE
            except asyncio.TimeoutError:
                pause = min(pause * 2, LONGEST_PAUSE)
            self.restarts += 1

    async def _run_once(self) -> int:
        """Runs one process to its end; returns its exit status."""
        loop = asyncio.get_running_loop()
        self._node = None
        self._node = node = await loop.run_in_executor(None, find_node, self._node_setting)
        bundle = find_bundle(self._app_dirs)
        self._directory = _socket_directory()
        self.socket_path = str(self._directory / "s.sock")
        self.secret = secrets.token_hex(32)
        self._last_words = ""
        env = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}
        process: asyncio.subprocess.Process | None = None
        too_late: asyncio.TimerHandle | None = None
        output: list[asyncio.Task[None]] = []
        try:
            process = await asyncio.create_subprocess_exec(
                *[node.path, *NODE_FLAGS, str(bundle), *self._arguments],
                *["--socket", self.socket_path, "--stdin-lifeline"],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**ALLOCATOR, **env, **self._env, "SYFT_SYNC_SECRET": self.secret},
                limit=LONGEST_LOG_LINE,
                # Ctrl-C in the terminal is Jupyter's: the sidecar ends when its life line does.
                start_new_session=True,
            )
            self._process = process
            too_late = loop.call_later(READY_SECONDS, process.kill)
            output = [
                loop.create_task(self._await_listening(process, too_late)),
                loop.create_task(self._forward_log(process)),
            ]
            code = await process.wait()
            self._settle(_crashed(_ended(code)))
            # Its last words; not for ever, for a child of its own may hold the pipe.
            await asyncio.wait(output, timeout=1)
            return code
        finally:
            if too_late is not None:
                too_late.cancel()
            if process is not None and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            for task in output:
                task.cancel()
            self._remove_directory()

    def _remove_directory(self) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    async def _await_listening(self, process: asyncio.subprocess.Process, too_late: asyncio.TimerHandle) -> None:
        """Its one line on stdout says that it listens. What it prints afterwards is passed over."""
        assert process.stdout is not None
        async for line in process.stdout:
            if line.startswith(b'{"listening"'):
                too_late.cancel()
                self._settle(None)
                self.log.info("Syft Sync: recording %s (pid %s)", self.root, process.pid)

    async def _forward_log(self, process: asyncio.subprocess.Process) -> None:
        """The sidecar's structured log, at the right levels, no more than a server's log can bear."""
        assert process.stderr is not None
        second, lines = 0, 0
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:
                # A line longer than the limit: nothing of ours is.
                continue
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip()
            level, message = logging.INFO, text
            with contextlib.suppress(ValueError, AttributeError):
                entry = json.loads(text)
                level = PINO_LEVELS.get(entry.get("level"), logging.INFO)
                message = str(entry.get("msg", text))
                detail = entry.get("message") or entry.get("reason")
                if detail:
                    message = f"{message}: {detail}"
            if level >= logging.WARNING or (text.strip() and not text.startswith(("{", " ", "Node.js v"))):
                self._last_words = message
            now = int(time.monotonic())
            second, lines = (now, 1) if now != second else (second, lines + 1)
            if lines <= LOG_LINES_A_SECOND:
                self.log.log(level, "Syft Sync sidecar: %s", message)
