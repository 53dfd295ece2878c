"""History of any size arrives as it is made, and costs the Jupyter server nothing but the way."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
from pathlib import Path

from jupyter_process import CHECKOUT, TOKEN, Jupyter, arguments_of, until

MIB = 1 << 20


def events_of(response: http.client.HTTPResponse, count: int) -> list[dict[str, str]]:
    """The next events of a live stream, as they come."""
    found: list[dict[str, str]] = []
    event: dict[str, str] = {}
    while len(found) < count:
        line = response.readline().decode().rstrip("\n")
        name, _, value = line.partition(": ")
        if line and name:
            event[name] = value
        elif "event" in event:
            found.append(event)
            event = {}
    return found


def connections(jupyter: Jupyter) -> int:
    """How many are connected to the sidecar's socket, by the kernel's own list."""
    words = arguments_of(jupyter.sidecar()["pid"])
    place = words[words.index("--socket") + 1]
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    # A listening socket has the flag 00010000.
    return sum(1 for line in lines if line[-1] == place and line[3] == "00000000")


def peak_memory(pid: int) -> int:
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


def test_changes_are_seen_while_the_stream_stays_open(jupyter: Jupyter) -> None:
    with jupyter.open("GET", "syft-sync/api/events", headers={"Accept": "text/event-stream"}) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["X-Accel-Buffering"] == "no"
        assert events_of(response, 1)[0]["event"] == "status"
        (jupyter.root / "live.txt").write_text("now\n")
        # It would wait for ever if anything on the way collected before passing on.
        while "live.txt" not in (event := events_of(response, 1)[0])["data"]:
            pass
        assert event["event"] == "changes"


def test_who_comes_back_gets_what_was_missed(jupyter: Jupyter) -> None:
    seen = jupyter.write("seen.txt", b"seen\n")
    missed = jupyter.write("missed.txt", b"missed\n")
    headers = {"Accept": "text/event-stream", "Last-Event-ID": seen}
    with jupyter.open("GET", "syft-sync/api/events", headers=headers) as response:
        [status, changes] = events_of(response, 2)
    assert [status["event"], changes["event"]] == ["status", "changes"]
    assert missed in changes["data"]
    assert "live.txt" not in changes["data"]


def test_who_goes_away_holds_nothing_on_the_other_side(jupyter: Jupyter) -> None:
    until(lambda: connections(jupyter) == 0, "nobody is connected")
    responses = [jupyter.open("GET", "syft-sync/api/events") for _ in range(5)]
    for response in responses:
        events_of(response, 1)
    assert connections(jupyter) == 5
    for response in responses:
        response.close()
    until(lambda: connections(jupyter) == 0, "the sidecar was told that they left")


def test_large_content_passes_whole_and_is_not_held_in_the_memory_of_jupyter(jupyter: Jupyter) -> None:
    content = os.urandom(64 * MIB)
    version = jupyter.write("large.bin", content)
    jupyter.request("GET", jupyter.content(version), headers={"Range": "bytes=0-1048575"})
    before = peak_memory(jupyter.pid)
    # A reader that has stopped: what cannot be delivered must wait in the sidecar, or on its disk.
    stopped = socket.create_connection(("127.0.0.1", jupyter.port))
    stopped.sendall(
        f"GET /{jupyter.content(version)}?token=the-token-of-this-test HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    )
    digest = hashlib.sha256()
    with jupyter.open("GET", jupyter.content(version)) as response:
        assert response.headers["Content-Length"] == str(len(content))
        while piece := response.read(MIB):
            digest.update(piece)
    assert digest.digest() == hashlib.sha256(content).digest()
    assert peak_memory(jupyter.pid) - before < 24 * MIB
    assert connections(jupyter) == 1
    stopped.close()
    until(lambda: connections(jupyter) == 0, "the half-read answer was given up")


def test_a_part_or_only_the_head_of_a_version_can_be_asked_for(jupyter: Jupyter) -> None:
    version = jupyter.write("table.csv", b"a,b\n1,2\n")
    whole = jupyter.get(jupyter.content(version))
    assert (whole.status, whole.body) == (200, b"a,b\n1,2\n")
    assert whole.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert whole.headers["Content-Security-Policy"].startswith("sandbox")
    assert whole.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    etag = whole.headers["ETag"]

    part = jupyter.get(jupyter.content(version), headers={"Range": "bytes=4-6"})
    assert (part.status, part.body) == (206, b"1,2")
    assert part.headers["Content-Range"] == "bytes 4-6/8"
    resumed = jupyter.get(jupyter.content(version), headers={"Range": "bytes=4-6", "If-Range": etag})
    assert (resumed.status, resumed.body) == (206, b"1,2")
    other = jupyter.get(jupyter.content(version), headers={"Range": "bytes=4-6", "If-Range": '"another"'})
    assert (other.status, other.body) == (200, b"a,b\n1,2\n")
    outside = jupyter.get(jupyter.content(version), headers={"Range": "bytes=99-"})
    assert (outside.status, outside.headers["Content-Range"]) == (416, "bytes */8")

    for method in ("GET", "HEAD"):
        same = jupyter.request(method, jupyter.content(version), headers={"If-None-Match": etag})
        assert (same.status, same.body, same.headers["ETag"]) == (304, b"", etag)
    head = jupyter.request("HEAD", jupyter.content(version))
    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Accept-Ranges"):
        assert head.headers[name] == whole.headers[name]
    saved = jupyter.get(jupyter.content(version) + "?download=1")
    assert 'filename="table.csv"' in saved.headers["Content-Disposition"]


def test_an_empty_version_is_an_empty_answer(jupyter: Jupyter) -> None:
    empty = jupyter.get(jupyter.content(jupyter.write("empty.csv", b"")))
    assert (empty.status, empty.body, empty.headers["Content-Length"]) == (200, b"", "0")


def test_an_error_of_the_sidecar_arrives_as_it_is(jupyter: Jupyter) -> None:
    answer = jupyter.get("syft-sync/api/versions/nowhere.1")
    assert answer.status == 404
    assert answer.json["error"]["code"] == "VERSION_NOT_FOUND"
    assert str(CHECKOUT) not in answer.body.decode()


def test_none_of_this_frightens_who_reads_the_log(jupyter: Jupyter) -> None:
    assert "Uncaught exception" not in jupyter.log
    assert "never retrieved" not in jupyter.log


def test_a_message_lies_on_disk_as_it_comes_and_is_held_in_memory_by_nobody(jupyter: Jupyter) -> None:
    size = 300 * MIB
    before = peak_memory(jupyter.pid)
    lines = [
        "POST /syft-sync/api/messages/receive HTTP/1.1",
        "Host: localhost",
        f"Authorization: token {TOKEN}",
        "Content-Type: application/x-syft",
        f"Content-Length: {size}",
        "Connection: close",
        "",
        "",
    ]
    box = jupyter.root / ".syft-sync" / "messages"
    piece = b"x" * MIB
    with socket.create_connection(("127.0.0.1", jupyter.port)) as connection:
        connection.sendall("\r\n".join(lines).encode())
        for _ in range(50):
            connection.sendall(piece)
        until(lambda: sum(file.stat().st_size for file in box.glob("new-*/archive.syft")) > 40 * MIB, "it is being written")
        for _ in range(250):
            connection.sendall(piece)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        told = json.loads(answer.read())
    assert (answer.status, told["state"], told["size"]) == (200, "altered", size)
    assert peak_memory(jupyter.pid) - before < 60 * MIB
    jupyter.request("DELETE", f"syft-sync/api/messages/{told['id']}", body=b"{}")
    assert list(box.glob("*/*")) == []


def test_a_message_that_breaks_off_leaves_nothing(jupyter: Jupyter) -> None:
    box = jupyter.root / ".syft-sync" / "messages"
    head = f"POST /syft-sync/api/messages/receive HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {TOKEN}\r\n"
    head += "Content-Type: application/x-syft\r\nContent-Length: 90000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", jupyter.port)) as connection:
        connection.sendall(head.encode() + b"x" * MIB)
        until(lambda: list(box.glob("new-*")), "it is being written")
    until(lambda: not list(box.glob("new-*")), "nothing is left of it")
