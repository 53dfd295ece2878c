"""Recording lives exactly as long as the Jupyter server, and comes back when it falls over."""

from __future__ import annotations

import os
import re
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_process import (
    NODE,
    Jupyter,
    alive,
    arguments_of,
    environment_of,
    recorded,
    running,
    script,
    syft_sync,
    until,
)


@pytest.fixture
def jupyter() -> Iterator[Jupyter]:
    """A server that a test may end."""
    with running() as server:
        yield server


def durable(root: Path, *names: str) -> None:
    assert recorded(root) >= set(names)
    check = syft_sync(root, "fsck", "--read-data")
    assert check.returncode == 0, check.stdout + check.stderr


def processes() -> list[list[str]]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            found.append(arguments_of(int(pid)))
        except OSError:
            continue
    return found


def test_files_are_recorded_with_no_browser_open_and_kept_when_jupyter_is_stopped(jupyter: Jupyter) -> None:
    (jupyter.root / "first.csv").write_text("a,b\n1,2\n")
    until(lambda: "first.csv" in recorded(jupyter.root), "a file is recorded though nobody asked the server")
    pid = jupyter.sidecar()["pid"]
    secret = environment_of(pid)["SYFT_SYNC_SECRET"]
    socket = Path(arguments_of(pid)[arguments_of(pid).index("--socket") + 1])

    # Nobody else can reach the sidecar, nor read what lets one in.
    assert len(secret) == 64
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    assert not [words for words in processes() if secret in " ".join(words)]

    (jupyter.root / "last.csv").write_text("a,b\n3,4\n")
    assert jupyter.end(signal.SIGTERM) == 0
    assert not alive(pid)
    assert not socket.parent.exists()
    assert secret not in jupyter.log
    durable(jupyter.root, "first.csv", "last.csv")


def test_files_are_kept_and_nothing_is_left_when_jupyter_is_killed(jupyter: Jupyter) -> None:
    jupyter.recording()
    # A kernel outlives its server for a while: it must not hold the life line.
    kernel = jupyter.post("api/kernels", {"name": "python3"})
    assert kernel.status == 201, kernel.body
    jupyter.write("kept.csv", b"a,b\n1,2\n")
    pid = jupyter.sidecar()["pid"]
    socket = Path(arguments_of(pid)[arguments_of(pid).index("--socket") + 1])
    jupyter.end(signal.SIGKILL)
    until(lambda: not alive(pid), "the sidecar ends by itself")
    until(lambda: not socket.parent.exists(), "the folder of its socket is gone")
    durable(jupyter.root, "kept.csv")


def test_recording_comes_back_by_itself_when_the_sidecar_is_killed(jupyter: Jupyter) -> None:
    jupyter.recording()
    before = jupyter.sidecar()["pid"]
    secret = environment_of(before)["SYFT_SYNC_SECRET"]
    os.kill(before, signal.SIGKILL)

    after = until(lambda: (s := jupyter.status())["running"] and s["pid"] != before and s, "another sidecar runs")
    assert after["restarts"] == 1
    assert environment_of(after["pid"])["SYFT_SYNC_SECRET"] != secret
    assert "ended by SIGKILL" in jupyter.log
    jupyter.recording()
    jupyter.write("after.csv", b"a,b\n")
    assert jupyter.end() == 0
    durable(jupyter.root, "after.csv")


def test_a_sidecar_that_keeps_crashing_is_tried_ever_more_rarely_and_says_why(tmp_path: Path) -> None:
    crash = f"#!/bin/sh\n[ $1 = --version ] && exec {NODE} --version\necho 'Error: no such luck' >&2\nexit 7\n"
    with running({"SyftSync": {"node": str(script(tmp_path / "node", crash))}}) as jupyter:
        until(lambda: jupyter.status()["restarts"] >= 3, "it is tried again")
        # At the moment of its end it has not been heard out yet.
        status = until(lambda: "no such luck" in (s := jupyter.status()).get("message", "") and s, "it says why")
        assert status["running"] is False
        assert status["reason"] == "crashed"
        assert "status 7" in status["message"]
        assert status["hint"]
        answer = until(
            lambda: "no such luck" in (a := jupyter.get("syft-sync/api/status")).json["error"]["message"] and a,
            "requests are told why",
        )
        assert answer.status == 503
        assert answer.json["error"] == {"code": "NOT_RUNNING", "message": status["message"]}
        pauses = [float(pause) for pause in re.findall(r"The next try is in (\S+) s", jupyter.log)]
        assert pauses[:3] == [0.5, 1, 2]


def test_what_was_repaired_is_tried_at_once_when_the_user_asks(tmp_path: Path) -> None:
    # Without Node the next try is half a minute away, and the request waits for ten seconds at most.
    node = tmp_path / "node"
    with running({"SyftSync": {"node": str(node)}}) as jupyter:
        until(lambda: jupyter.status()["reason"] == "node-missing", "the first try has failed")
        failed = jupyter.post("syft-sync/restart")
        assert failed.json["reason"] == "node-missing"
        node.symlink_to(NODE)
        restarted = jupyter.post("syft-sync/restart")
        assert restarted.status == 200
        assert restarted.json["running"] is True
        assert "reason" not in restarted.json
        # Asked again it leaves the one that runs alone.
        assert jupyter.post("syft-sync/restart").json["pid"] == restarted.json["pid"]


def test_what_was_switched_off_stays_off(tmp_path: Path) -> None:
    with running({"SyftSync": {"enabled": False}}) as jupyter:
        for status in (jupyter.status(), jupyter.post("syft-sync/restart").json):
            assert status["running"] is False
            assert status["reason"] == "disabled"
            assert "pid" not in status
        assert jupyter.get("syft-sync/api/status").status == 503
        assert jupyter.end() == 0
        assert os.listdir(jupyter.root) == []


def test_a_server_that_nobody_uses_may_be_shut_down_though_a_panel_listens() -> None:
    with running() as jupyter:
        jupyter.recording()
        before = jupyter.get("api/status").json["last_activity"]
        jupyter.write("some.txt", b"some\n")
        with jupyter.open("GET", "syft-sync/api/events", headers={"Accept": "text/event-stream"}) as events:
            events.readline()
        assert jupyter.get("api/status").json["last_activity"] == before
