"""`message`: what a SyftMessage is, as an object that a notebook shows."""

from __future__ import annotations

import contextlib
import html
import http.client
import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .command import command_line
from .locate import NotFound
from .recorder import Connection, Place, connect, place_of
from .result_table import printable

MIME_TYPE = "application/vnd.syft.message+json"
# The form of what is put out; a reader refuses another.
FORM = 1
# A notebook is no place for a list of thousands: the message itself has them all.
MOST_FILES = 100
MOST_RECIPIENTS = 20
LONGEST_NOTE = 2000
_ID = re.compile(r"[0-9a-f]{32}")
# Seconds without a byte: a large message is read whole before it is answered.
PATIENCE = 300.0
_WORDS = {
    "verified": "verified",
    "new-sender": "new sender",
    "changed-sender": "other key than before",
    "unsigned": "unsigned",
    "altered": "altered",
    "locked": "locked",
}


class SyftMessageError(Exception):
    """A message that could not be looked at.

    Attributes:
        code: Stable, for programs: `NOT_RUNNING`, `NOT_FOUND`, `PATH_OUTSIDE_ROOT` …
        message: For people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} [{code}]")
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.message)


class SyftMessage:
    """What is known of a message, when it was looked at. Nothing of it was taken into the workspace by that.

    Attributes:
        state: `verified`, `new-sender`, `changed-sender`, `unsigned`, `altered` or `locked`, as in the Messages panel.
        problem: A sentence, where the state needs one.
        sender: `{"name", "fingerprint"?, "publicKey"?}`; None where it is not known.
        recipients: Their names.
        note: What the sender wrote, or None.
        files: One `{"path", "size", "hash"?, "versionId"?}` a file; of an altered or a locked message none.
        sealed: Only its recipients can open it.
        at: When its newest version was recorded, by the sender's clock, ISO 8601; or None.
        proven: `{"fact", "text", …}`: what follows from its bytes.
        claimed: The same: what it only says.
        data: All of the answer.
    """

    def __init__(self, data: Mapping[str, Any], place: Mapping[str, str]) -> None:
        self.data = dict(data)
        self._place = dict(place)
        self.state: str = data["state"]
        self.problem: str | None = data.get("problem")
        self.sender: dict[str, Any] | None = data.get("sender")
        self.recipients: list[str] = list(data.get("recipients", []))
        self.note: str | None = data.get("note")
        self.files: list[dict[str, Any]] = list(data.get("fileList", []))
        self.sealed: bool = bool(data.get("sealed"))
        self.at: str | None = data.get("at")
        self.proven: list[dict[str, Any]] = list(data.get("proven", []))
        self.claimed: list[dict[str, Any]] = list(data.get("claimed", []))

    @property
    def _who(self) -> str:
        return str(self.sender["name"]) if self.sender else "unknown sender"

    def __repr__(self) -> str:
        counted = "1 file" if len(self.files) == 1 else f"{len(self.files):,} files"
        lines = [f"SyftMessage from {printable(self._who)}: {_WORDS.get(self.state, self.state)}, {counted}"]
        if self.problem:
            lines.append(printable(self.problem))
        if self.note:
            lines.append(f'"{printable(_cut(self.note, 200))}"')
        lines += [f"  {printable(file['path'])}  {file['size']:,} bytes" for file in self.files[:10]]
        if len(self.files) > 10:
            lines.append(f"  and {len(self.files) - 10:,} more")
        return "\n".join(lines)

    def _shown(self) -> dict[str, Any]:
        """What JupyterLab draws. Keys and hashes stay out: from a notebook nothing can be verified with them."""
        sender = self.sender and {key: self.sender[key] for key in ("name", "fingerprint") if key in self.sender}
        return {
            "form": FORM,
            **self._place,
            "state": self.state,
            **({"problem": _cut(self.problem, LONGEST_NOTE)} if self.problem else {}),
            **({"sender": {key: _cut(str(value), 500) for key, value in sender.items()}} if sender else {}),
            "recipients": [_cut(name, 500) for name in self.recipients[:MOST_RECIPIENTS]],
            **({"note": _cut(self.note, LONGEST_NOTE)} if self.note else {}),
            **({"at": self.at} if self.at else {}),
            "sealed": self.sealed,
            "count": len(self.files),
            "bytes": sum(file["size"] for file in self.files),
            "files": [{"path": _cut(file["path"], 1000), "size": file["size"]} for file in self.files[:MOST_FILES]],
        }

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {MIME_TYPE: self._shown(), "text/html": self._html(), "text/plain": repr(self)}

    def _html(self) -> str:
        """Where the extension is not installed: text, escaped, and nothing that could be run or loaded."""

        def text(value: str) -> str:
            return html.escape(printable(value))

        rows = "".join(
            f'<tr><td style="text-align: left">{text(file["path"])}</td><td style="text-align: right">{file["size"]:,}</td></tr>'
            for file in self.files[:MOST_FILES]
        )
        more = f"<p>and {len(self.files) - MOST_FILES:,} more files</p>" if len(self.files) > MOST_FILES else ""
        table = f"<table><thead><tr><th>file</th><th>bytes</th></tr></thead><tbody>{rows}</tbody></table>{more}" if rows else ""
        said = "".join(f"<p>{text(line)}</p>" for line in (self.problem,) if line)
        note = f"<blockquote>{text(_cut(self.note, LONGEST_NOTE))}</blockquote>" if self.note else ""
        state = html.escape(_WORDS.get(self.state, self.state))
        return f"<div><p><strong>SyftMessage from {text(self._who)}</strong>: {state} when this cell was run</p>{said}{note}{table}</div>"


def message(path_or_id: str | os.PathLike[str], /, *, workspace: str | os.PathLike[str] | None = None) -> SyftMessage:
    """Looks at a SyftMessage, without taking anything of it into the workspace. One of the inbox counts as read from then on.

    Args:
        path_or_id: A `.syft` file, or the id of a message of the inbox or the outbox (32 hex digits), which needs a recorder that runs.
        workspace: A folder of the workspace. Default: as for `sql`.

    Returns:
        What it is; a notebook shows it.

    Raises:
        SyftMessageError: With a code and a message. That a message was altered is no error but its state.
        FileNotFoundError: There is no such file.
    """
    place = place_of(workspace)
    named = os.fspath(path_or_id)
    if _ID.fullmatch(named) and not Path(named).exists():
        connection = connect(place.log, PATIENCE)
        if connection is None:
            raise SyftMessageError("NOT_RUNNING", f"Nobody records {place.root}, and only a recorder knows messages by their ids.")
        with contextlib.closing(connection):
            return SyftMessage(_asked(connection, "GET", f"/api/messages/{named}"), {"id": named})
    file = Path(named).expanduser().resolve(strict=True)
    root = place.root.resolve()
    inside = file.relative_to(root).as_posix() if file.is_relative_to(root) else None
    if inside is not None and not _is_text(inside):
        # JSON has no names that are not UTF-8.
        inside = None
    shown = {} if inside is None else {"path": inside}
    if inside is not None:
        connection = connect(place.log, PATIENCE)
        if connection is not None:
            try:
                with contextlib.closing(connection):
                    return SyftMessage(_asked(connection, "POST", "/api/messages/inspect", {"path": inside}), shown)
            except SyftMessageError as error:
                # `syft-sync watch` records and knows nothing of messages; or it has just ended.
                if error.code not in ("NOT_FOUND", "NOT_RUNNING"):
                    raise
    return SyftMessage(_verified(file, place), shown)


def _asked(connection: Connection, method: str, address: str, body: Any = None) -> dict[str, Any]:
    try:
        with connection.ask(method, address, body) as response:
            answer = json.loads(response.read())
            status = response.status
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise SyftMessageError("NOT_RUNNING", "The recorder did not answer.") from error
    if not isinstance(answer, dict):
        raise SyftMessageError("INTERNAL", "The recorder gave an unexpected answer.")
    if status != 200:
        raise _error(answer, f"The recorder answered with status {status}.")
    return answer


def _error(answer: Any, otherwise: str) -> SyftMessageError:
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return SyftMessageError("INTERNAL", otherwise)
    return SyftMessageError(str(error.get("code", "INTERNAL")), str(error.get("message", otherwise)))


def _json_of(arguments: list[str], place: Place) -> tuple[list[Any], int, Any]:
    """The lines that the command line puts out, its status, and the last that it said of an error."""
    try:
        command = [*command_line(), "-C", str(place.root), "--json", *arguments]
    except NotFound as missing:
        raise SyftMessageError("NOT_RUNNING", f"Nobody records {place.root}. {missing}") from missing
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True)
    said: Any = None
    with contextlib.suppress(ValueError, IndexError):
        said = json.loads(done.stderr.decode("utf-8", "replace").strip().splitlines()[-1])
    try:
        return [json.loads(line) for line in done.stdout.splitlines()], done.returncode, said
    except ValueError as error:
        raise SyftMessageError("INTERNAL", "The command line gave an unexpected answer.") from error


def _verified(file: Path, place: Place) -> dict[str, Any]:
    """Where nobody records, or the file is outside of what is recorded: the command line reads it itself."""
    lines, status, said = _json_of(["verify", str(file)], place)
    found = lines[0] if lines and isinstance(lines[0], dict) else None
    if found is None:
        answer = _error(said, f"The command line ended with status {status}.")
        if answer.code in ("KEY_MISSING", "KEY_MISMATCH"):
            return {"state": "locked", "problem": answer.message, "sealed": True}
        raise answer
    state, problem = _judged(found, place)
    files = found.get("files", [])
    return {**found, "state": state, **({"problem": problem} if problem else {}), "fileList": files, "files": len(files)}


def _judged(found: Mapping[str, Any], place: Place) -> tuple[str, str | None]:
    """What the panel would say of it: whose key it is."""
    if not found.get("ok"):
        return "altered", str(found.get("failed", ""))
    sender = found.get("sender") or {}
    key, name = sender.get("publicKey"), sender.get("name")
    if key is None:
        return "unsigned", None
    known, status, said = _json_of(["contacts", "list"], place)
    if status != 0:
        raise _error(said, f"The command line ended with status {status}.")
    if any(contact.get("publicKey") == key for contact in known):
        return "verified", None
    own, status, _ = _json_of(["contacts", "me"], place) if place.log.is_dir() else ([], 0, None)
    if status == 0 and own and own[0].get("publicKey") == key:
        return "verified", None
    if any(contact.get("name") == name for contact in known):
        return "changed-sender", f"{name} is known here with another key than the one that signed this."
    return "new-sender", None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
