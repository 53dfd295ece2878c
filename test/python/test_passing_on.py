"""What reaches the sidecar, byte for byte, and what comes back: nothing of Jupyter's own, and no half answer as a whole."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_process import TOKEN, Jupyter, environment_of, running, script

HERE = Path(__file__).resolve().parent
RECORD = "requests.jsonl"


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """A server with a recording HTTP server in the sidecar's place."""
    place = tmp_path_factory.mktemp("recording")
    start = f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "recording_sidecar.py"}" "$@"\n'
    record = place / RECORD
    settings = {"node": str(script(place / "node", start)), "environment": {"RECORD_REQUESTS_IN": str(record)}}
    with running({"SyftSync": settings}) as server:
        server.sidecar()
        server.record = record  # type: ignore[attr-defined]
        yield server


@pytest.fixture
def record(jupyter: Jupyter) -> Path:
    """The requests that reach the sidecar in one test."""
    path: Path = jupyter.record  # type: ignore[attr-defined]
    path.write_text("")
    return path


def requests(record: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in record.read_text().splitlines()]


def sent(record: Path) -> tuple[str, dict[str, str], str]:
    """Request line, headers and body of the one request that arrived."""
    [request] = requests(record)
    first, *lines = request["head"].removesuffix("\r\n\r\n").split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), request["body"]


def head_of(method: str, target: str, *lines: str) -> bytes:
    head = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Authorization: token {TOKEN}", *lines]
    return "\r\n".join([*head, "Connection: close", "", ""]).encode("latin-1")


def test_nothing_that_opens_jupyter_is_given_to_the_sidecar(jupyter: Jupyter, record: Path) -> None:
    strange = {
        "Cookie": "session=open",
        "X-XSRFToken": "forgery",
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "elsewhere.example",
        "X-Real-Ip": "10.0.0.1",
        "Forwarded": "for=10.0.0.1",
        "X-Syft-Sync-Secret": "guessed",
        "Referer": f"http://localhost/lab?token={TOKEN}",
        "Origin": f"http://127.0.0.1:{jupyter.port}",
        "User-Agent": "A Browser",
        "Proxy-Authorization": "Basic eDp4",
        "Upgrade": "websocket",
        "TE": "trailers",
        "Expect": "nothing",
        "Accept-Encoding": "gzip",
        "X-Http-Method-Override": "DELETE",
    }
    jupyter.get(f"syft-sync/api/ordinary?token={TOKEN}&path=a%26b%3D%C3%A9+c&%74oken={TOKEN}&q=", headers=strange)
    first, headers, body = sent(record)
    assert first == "GET /api/ordinary?path=a%26b%3D%C3%A9+c&q= HTTP/1.1"
    secret = environment_of(jupyter.sidecar()["pid"])["SYFT_SYNC_SECRET"]
    assert headers == {"Host": "localhost", "Connection": "close", "X-Syft-Sync-Secret": secret}
    assert body == ""
    assert TOKEN not in record.read_text()
    assert "JUPYTER_TOKEN" not in environment_of(jupyter.sidecar()["pid"])


def test_what_the_sidecar_must_know_arrives(jupyter: Jupyter, record: Path) -> None:
    known = {
        "Accept": "text/event-stream",
        "Range": "bytes=1-2",
        "If-Range": '"x"',
        "If-None-Match": '"y"',
        "Last-Event-ID": "k7f2.1042",
    }
    jupyter.get("syft-sync/api/versions/k7f2.1042/content?download=1", headers=known)
    first, headers, _ = sent(record)
    assert first == "GET /api/versions/k7f2.1042/content?download=1 HTTP/1.1"
    assert {name.lower(): value for name, value in headers.items()}.items() >= {
        name.lower(): value for name, value in known.items()
    }.items()


def test_a_body_arrives_as_it_was_sent_with_the_mark_of_no_forged_form(jupyter: Jupyter, record: Path) -> None:
    text = '{"path": "caf\u00e9 \\u0000"}\r\n\r\nGET /api/stolen HTTP/1.1\r\n\r\n'
    jupyter.request("POST", "syft-sync/api/restore", body=text.encode())
    first, headers, body = sent(record)
    assert first == "POST /api/restore HTTP/1.1"
    assert body.encode("latin-1") == text.encode()
    assert headers["Content-Length"] == str(len(text.encode()))
    assert headers["X-Syft-Sync-Request"] == "1"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_other_writes_arrive_with_the_mark_of_no_forged_form(jupyter: Jupyter, record: Path, method: str) -> None:
    jupyter.request(method, "syft-sync/api/contacts/me", body=b"{}")
    first, headers, body = sent(record)
    assert first == f"{method} /api/contacts/me HTTP/1.1"
    assert (headers["X-Syft-Sync-Request"], body) == ("1", "{}")


def test_a_message_arrives_as_it_was_sent(jupyter: Jupyter, record: Path) -> None:
    message = bytes(range(256)) * 20_000
    jupyter.request("POST", "syft-sync/api/messages/receive", body=message, headers={"Content-Type": "application/x-syft"})
    first, headers, body = sent(record)
    assert first == "POST /api/messages/receive HTTP/1.1"
    assert body.encode("latin-1") == message
    assert headers["Content-Type"] == "application/x-syft"
    assert (headers["Content-Length"], headers["X-Syft-Sync-Request"]) == (str(len(message)), "1")


def test_a_message_without_a_length_is_refused(jupyter: Jupyter, record: Path) -> None:
    chunked = jupyter.request("POST", "syft-sync/api/messages/receive", body=iter([b"a", b"b"]))
    assert chunked.status == 411
    assert chunked.json["error"]["code"] == "BAD_REQUEST"
    assert requests(record) == []


def test_a_chunked_body_arrives_with_its_length(jupyter: Jupyter, record: Path) -> None:
    jupyter.request("POST", "syft-sync/api/restore", body=iter([b'{"a"', b": 1}"]))
    _, headers, body = sent(record)
    assert body == '{"a": 1}'
    assert headers["Content-Length"] == "8"
    assert "Transfer-Encoding" not in headers


def test_a_read_with_a_body_arrives_without_it(jupyter: Jupyter, record: Path) -> None:
    jupyter.request("GET", "syft-sync/api/ordinary", body=b"GET /api/stolen HTTP/1.1\r\n\r\n")
    _, headers, body = sent(record)
    assert body == ""
    assert "Content-Length" not in headers
    assert len(requests(record)) == 1


@pytest.mark.parametrize(
    "path",
    [
        "..",
        ".",
        "../status",
        "../../api/contents",
        "versions/../status",
        "%2e%2e/status",
        "%2E%2E%2Fstatus",
        "%252e%252e/status",
        ".%2e/status",
        "versions%2Fk.1%2Fcontent",
        "versions/k.1%5C..",
        "versions\\k.1",
        "//status",
        "status/",
        "versions//content",
        "%73tatus",
        "a%00b",
        "a%0d%0aX-Syft-Sync-Secret:%20x",
        "a%20HTTP/1.1",
        "a;b",
        "a@b",
        "http://elsewhere.example/",
        "%",
        "%zz",
        "%ff",
        "\u00e9",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_address_that_is_none_of_ours_never_reaches_the_sidecar(
    jupyter: Jupyter, record: Path, method: str, path: str
) -> None:
    answer = jupyter.raw(head_of(method, f"/syft-sync/api/{path}", "Content-Length: 0"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 "), answer
    assert isinstance(json.loads(body), dict)
    assert requests(record) == []


@pytest.mark.parametrize("method", ["PUT", "TRACE", "CONNECT", "PROPFIND", "get", "M-SEARCH"])
def test_a_method_that_the_sidecar_does_not_know_never_reaches_it(
    jupyter: Jupyter, record: Path, method: str
) -> None:
    answer = jupyter.raw(head_of(method, "/syft-sync/api/status", "Content-Length: 0"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 "), answer
    assert json.loads(body)["message"]
    assert requests(record) == []


@pytest.mark.parametrize(
    "data",
    [
        # Two readings of where a request ends.
        head_of("POST", "/syft-sync/api/x", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\nGET /api/stolen",
        head_of("POST", "/syft-sync/api/x", "Content-Length: 5", "Content-Length: 6") + b"123456",
        head_of("POST", "/syft-sync/api/x", "Content-Length: +5") + b"12345",
        head_of("POST", "/syft-sync/api/x", "Transfer-Encoding: xchunked") + b"0\r\n\r\n",
        head_of("POST", "/syft-sync/api/x", "Transfer-Encoding: chunked") + b"0x5\r\n12345\r\n0\r\n\r\n",
        head_of("POST", "/syft-sync/api/x", "Content-Length : 5") + b"12345",
        # Headers in headers.
        head_of("GET", "/syft-sync/api/x", "Accept: a\rX-Syft-Sync-Secret: x"),
        head_of("GET", "/syft-sync/api/x", "Accept: a\x00b"),
        head_of("GET", "/syft-sync/api/x y"),
        # Announced larger than Jupyter takes.
        head_of("POST", "/syft-sync/api/x", "Content-Length: 99999999999"),
    ],
    ids=lambda data: data.split(b"\r\n")[3].decode("latin-1").encode("unicode_escape").decode(),
)
def test_a_request_of_two_meanings_never_reaches_the_sidecar(jupyter: Jupyter, record: Path, data: bytes) -> None:
    answer = jupyter.raw(data)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 "), answer
    assert requests(record) == []


def test_a_header_over_two_lines_stays_one_header(jupyter: Jupyter, record: Path) -> None:
    jupyter.raw(head_of("GET", "/syft-sync/api/x", "Accept: text/plain,", " X-Syft-Sync-Secret: x"))
    for request in requests(record):
        assert "\r\nX-Syft-Sync-Secret: x" not in request["head"]
        assert "\r\n " not in request["head"]


def test_a_body_that_is_too_large_is_refused(jupyter: Jupyter, record: Path) -> None:
    answer = jupyter.request("POST", "syft-sync/api/restore", body=b"x" * ((1 << 20) + 1))
    assert answer.status == 413
    assert answer.json["error"]["code"] == "BAD_REQUEST"
    chunked = jupyter.request("POST", "syft-sync/api/restore", body=iter([b"x" * (1 << 20), b"x"]))
    assert chunked.status == 413
    assert requests(record) == []


def test_the_sidecar_cannot_set_cookies_nor_send_the_browser_elsewhere(jupyter: Jupyter, record: Path) -> None:
    cookie = jupyter.get("api").headers["Set-Cookie"]
    answer = jupyter.get("syft-sync/api/talkative")
    assert answer.status == 200
    assert answer.json == {}
    assert answer.headers["ETag"] == '"x"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    assert not {"Location", "Refresh", "X-Syft-Sync-Secret", "Strict-Transport-Security"} & set(answer.headers)
    assert "Ours" not in answer.headers["Server"]
    assert answer.headers.get("Access-Control-Allow-Origin") != "*"
    # Jupyter itself may keep its session; no cookie is of the sidecar.
    assert all(
        value.split("=")[0] == cookie.split("=")[0] for value in answer.headers.get_all("Set-Cookie") or []
    )


@pytest.mark.parametrize(
    "path", ["cut-by-length", "cut-in-a-chunk", "cut-between-chunks", "broken-chunk"]
)
def test_an_answer_that_breaks_off_is_not_taken_for_the_whole(jupyter: Jupyter, record: Path, path: str) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        jupyter.get(f"syft-sync/api/{path}")
    assert len(requests(record)) == 1
    assert jupyter.get("syft-sync/api/ordinary").status == 200


@pytest.mark.parametrize(
    "path",
    ["cut-in-the-head", "cut-at-once", "cut-without-length", "no-http", "two-lengths", "split-head", "endless-head"],
)
def test_an_answer_that_cannot_be_read_is_an_error_not_a_page(jupyter: Jupyter, record: Path, path: str) -> None:
    answer = jupyter.get(f"syft-sync/api/{path}")
    assert answer.status == 503
    assert answer.json["error"]["code"] == "NOT_RUNNING"
    assert "Set-Cookie" not in answer.headers or "taken" not in answer.headers["Set-Cookie"]
    assert jupyter.get("syft-sync/api/ordinary").status == 200


def test_none_of_this_frightens_who_reads_the_log(jupyter: Jupyter) -> None:
    assert "Uncaught exception" not in jupyter.log
    assert "never retrieved" not in jupyter.log
