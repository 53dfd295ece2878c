"""The console script is the command line itself: same exit status, same signals, and a plain word when Node is missing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_process import CHECKOUT, NODE, PATIENCE

SCRIPT = Path(sys.executable).parent / "syft-sync"


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE, **options)  # type: ignore[call-overload,no-any-return]


def test_records_and_tells_with_the_exit_status_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a file.csv").write_text("a,b\n")
    captured = run("-C", str(tmp_path), "--json", "capture")
    assert captured.returncode == 0, captured.stderr
    assert json.loads(captured.stdout.splitlines()[-1])["captured"] == 1
    history = run("--json", "history", "a file.csv", cwd=tmp_path)
    assert json.loads(history.stdout)["path"] == "a file.csv"
    assert run("history", "absent.csv", cwd=tmp_path).returncode == 4
    assert run("no-such-command").returncode == 2


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 0)])
def test_a_signal_reaches_the_recorder_which_makes_all_durable(
    tmp_path: Path, sent: signal.Signals, status: int
) -> None:
    (tmp_path / "kept.csv").write_text("a,b\n")
    command = [str(SCRIPT), "-C", str(tmp_path), "--json", "watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        while '"ready":true' not in (line := watch.stdout.readline()):
            assert line, "it ended before it was ready"
        watch.send_signal(sent)
        assert watch.wait(PATIENCE) == status
    assert run("-C", str(tmp_path), "fsck").returncode == 0


def test_says_what_is_missing_in_one_line(tmp_path: Path) -> None:
    # The package alone, without the checkout around it that holds a Node and a bundle.
    shutil.copytree(CHECKOUT / "syft_sync", tmp_path / "syft_sync", ignore=shutil.ignore_patterns("labextension"))
    command = [sys.executable, "-c", "from syft_sync.command import main; main()", "log"]
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PATH": str(tmp_path)}
    env.pop("SYFT_SYNC_NODE", None)
    for more, reason in (({}, "node-missing"), ({"SYFT_SYNC_NODE": str(NODE)}, "bundle-missing")):
        done = subprocess.run(command, env={**env, **more}, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stdout == ""
        [line] = done.stderr.splitlines()
        assert line.startswith("syft-sync: ")
        assert line.endswith(f"[{reason}]")
