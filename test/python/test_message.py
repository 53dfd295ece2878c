"""`syft_sync.message`: a message says in a notebook what it is, and nothing of a stranger runs or passes for verified."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from jupyter_process import Jupyter, syft_sync

import syft_sync as library
from syft_sync.syft_message import MIME_TYPE

HOSTILE = "<img src=x onerror=alert(1)>\u202e"
NAME = "<img src=x onerror=alert(2)>.txt"
STRANGER = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


def cli(root: Path, *arguments: str) -> str:
    done = syft_sync(root, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A message of somebody with a key of their own, in a workspace that nobody records."""
    sender = tmp_path / "sender"
    sender.mkdir()
    (sender / NAME).write_text("what was sent")
    monkeypatch.setenv("SYFT_SYNC_HOME", str(tmp_path / "hers"))
    cli(sender, "capture")
    here = tmp_path / "here"
    here.mkdir()
    cli(sender, "export", f"{sender / NAME}@latest", "-o", str(here / "a.syft"), "--from", f"Ana {HOSTILE}", "--note", HOSTILE)
    cli(sender, "export", f"{sender / NAME}@latest", "-o", str(here / "sealed.syft"), "--to", STRANGER)
    monkeypatch.setenv("SYFT_SYNC_HOME", str(tmp_path / "mine"))
    return here / "a.syft"


def shown(message: Any) -> dict[str, Any]:
    """As a notebook keeps it."""
    return dict(json.loads(json.dumps(message._repr_mimebundle_())))


def test_where_nobody_records_the_command_line_looks_at_it(sent: Path) -> None:
    message = library.message(sent, workspace=sent.parent)
    assert message.state == "new-sender"
    assert message.sender is not None and message.sender["name"] == f"Ana {HOSTILE}"
    assert message.note == HOSTILE
    assert [file["size"] for file in message.files] == [13]
    assert {fact["fact"] for fact in message.proven} >= {"contents", "signature"}
    assert message.claimed
    bundle = shown(message)
    assert bundle[MIME_TYPE]["path"] == "a.syft"
    assert bundle[MIME_TYPE]["count"] == 1
    assert "publicKey" not in json.dumps(bundle[MIME_TYPE])


def test_nothing_of_a_stranger_is_markup_or_turns_the_text(sent: Path) -> None:
    bundle = shown(library.message(sent, workspace=sent.parent))
    for form in ("text/html", "text/plain"):
        assert "\u202e" not in bundle[form]
        assert "\\u202e" in bundle[form]
    assert "<img" not in bundle["text/html"]
    assert "&lt;img" in bundle["text/html"]
    # What an output says may be from long ago, or made up.
    assert "when this cell was run" in bundle["text/html"]


def test_what_is_altered_or_sealed_for_others_is_no_error_but_a_state(sent: Path) -> None:
    tar = gzip.decompress(sent.read_bytes())
    assert b"what was sent" in tar
    sent.write_bytes(gzip.compress(tar.replace(b"what was sent", b"what was SENT")))
    altered = library.message(sent, workspace=sent.parent)
    assert altered.state == "altered"
    assert altered.problem
    assert altered.files == []
    locked = library.message(sent.parent / "sealed.syft", workspace=sent.parent)
    assert (locked.state, locked.sealed, locked.files) == ("locked", True, [])
    assert shown(locked)[MIME_TYPE]["state"] == "locked"


def test_a_list_of_thousands_is_cut_in_the_notebook_and_whole_in_the_object() -> None:
    files = [{"path": f"{number}.txt", "size": 1} for number in range(5000)]
    message = library.SyftMessage({"state": "verified", "note": "x" * 50_000, "fileList": files}, {"id": "0" * 32})
    bundle = shown(message)
    assert len(message.files) == 5000
    assert bundle[MIME_TYPE]["count"] == 5000
    assert len(bundle[MIME_TYPE]["files"]) == 100
    assert len(json.dumps(bundle)) < 60_000
    assert "and 4,900 more files" in bundle["text/html"]


def test_what_is_not_there_is_said(sent: Path) -> None:
    with pytest.raises(FileNotFoundError):
        library.message(sent.parent / "none.syft", workspace=sent.parent)
    with pytest.raises(library.SyftMessageError, match="NOT_RUNNING") as found:
        library.message("0" * 32, workspace=sent.parent)
    assert pickle.loads(pickle.dumps(found.value)).code == "NOT_RUNNING"
    (sent.parent / "text.syft").write_text("no message at all")
    assert library.message(sent.parent / "text.syft", workspace=sent.parent).state == "altered"


def test_the_recorder_is_asked_where_it_runs(jupyter: Jupyter, sent: Path) -> None:
    jupyter.write("notes.txt", b"mine")
    body = {"paths": ["notes.txt"], "note": "to myself", "deliver": {"path": "own.syft"}}
    made = jupyter.post("syft-sync/api/messages/share", body).json
    own = library.message(jupyter.root / "own.syft", workspace=jupyter.root)
    assert own.state == "verified"
    assert own.data["box"] == "inbox"
    assert own.note == "to myself"
    by_id = library.message(made["id"], workspace=jupyter.root)
    assert [file["path"] for file in by_id.files] == ["notes.txt"]
    assert shown(by_id)[MIME_TYPE]["id"] == made["id"]
    # Outside of what is recorded the recorder has nothing to say.
    assert library.message(sent, workspace=jupyter.root).sender is not None
