"""Nobody gets in who does not belong: Jupyter's own login, XSRF check and authorizer stand before every route."""

from __future__ import annotations

import http.cookies
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_process import TOKEN, Jupyter, running

READS = ["syft-sync/status", "syft-sync/api/status", "syft-sync/api/changes", "syft-sync/api/events", "syft-sync/api/nowhere"]
WRITES = [
    "syft-sync/restart",
    "syft-sync/api/pause",
    "syft-sync/api/restore",
    "syft-sync/api/messages/receive",
    "syft-sync/api/nowhere",
]
ROUTES = [*(("GET", path) for path in READS), *(("HEAD", path) for path in READS[1:]), *(("POST", path) for path in WRITES)]


def state(jupyter: Jupyter) -> str:
    return jupyter.get("syft-sync/api/status").json["state"]


@pytest.fixture(scope="module")
def cookies(jupyter: Jupyter) -> dict[str, str]:
    """What a browser holds after it logged in: its session, and the XSRF token for its own pages."""
    jar: dict[str, str] = {}
    for path in (f"?token={TOKEN}", "login"):
        answer = jupyter.get(path, token=None, headers={"Cookie": "; ".join(f"{n}={v}" for n, v in jar.items())})
        for header in answer.headers.get_all("Set-Cookie") or []:
            jar.update({name: morsel.coded_value for name, morsel in http.cookies.SimpleCookie(header).items()})
    assert "_xsrf" in jar
    return jar


@pytest.fixture
def browser(cookies: dict[str, str]) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("token", [None, "wrong"])
def test_without_the_token_nothing_is_told_and_nothing_is_done(
    jupyter: Jupyter, method: str, path: str, token: str | None
) -> None:
    body = "{}" if method == "POST" else None
    answer = jupyter.request(method, path, token=token, body=body, headers={"Content-Type": "application/json"})
    assert answer.status == 403
    if method != "HEAD":
        assert answer.json["message"]
    assert state(jupyter) == "recording"


def test_the_token_passes_in_the_header_and_in_the_address(jupyter: Jupyter) -> None:
    assert jupyter.get("syft-sync/api/status").status == 200
    assert jupyter.get(f"syft-sync/api/status?token={TOKEN}", token=None).status == 200
    assert jupyter.post("syft-sync/api/pause").json["state"] == "paused"
    assert jupyter.post("syft-sync/api/resume").json["state"] == "recording"


def test_another_site_cannot_write_with_the_cookies_of_the_user(jupyter: Jupyter, browser: dict[str, str]) -> None:
    assert jupyter.get("syft-sync/api/status", token=None, headers=browser).status == 200
    for path in WRITES:
        for forged in (
            {},
            {"X-Syft-Sync-Request": "1"},
            {"X-XSRFToken": "guessed"},
            {"Content-Type": "text/plain"},
            {"Content-Type": "application/x-www-form-urlencoded"},
        ):
            answer = jupyter.post(path, token=None, headers={**browser, **forged})
            assert answer.status == 403, (path, forged)
            assert "_xsrf" in answer.json["message"] or "XSRF" in answer.json["message"]
    assert state(jupyter) == "recording"


def test_another_site_cannot_read_with_the_cookies_of_the_user(jupyter: Jupyter, browser: dict[str, str]) -> None:
    for path in READS:
        answer = jupyter.get(path, token=None, headers={**browser, "Origin": "https://elsewhere.example"})
        assert answer.status == 404, path
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_the_pages_of_the_user_write_with_the_xsrf_token(
    jupyter: Jupyter, browser: dict[str, str], cookies: dict[str, str]
) -> None:
    own = {**browser, "X-XSRFToken": cookies["_xsrf"]}
    assert jupyter.post("syft-sync/api/pause", token=None, headers=own).json["state"] == "paused"
    assert jupyter.post("syft-sync/api/resume", token=None, headers=own).json["state"] == "recording"
    assert jupyter.post("syft-sync/restart", token=None, headers=own).json["running"] is True


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """A server whose owner lets others look and not touch."""
    place: Path = tmp_path_factory.mktemp("authorizer")
    (place / "looking_only.py").write_text(
        "from jupyter_server.auth import Authorizer\n"
        "class LookingOnly(Authorizer):\n"
        "    def is_authorized(self, handler, user, action, resource):\n"
        "        return (action, resource) == ('read', 'contents')\n"
    )
    config = {"ServerApp": {"authorizer_class": "looking_only.LookingOnly"}}
    with running(config, env={"PYTHONPATH": str(place)}) as server:
        server.recording()
        yield server


def test_who_may_only_read_contents_sees_history_and_changes_nothing(guarded: Jupyter) -> None:
    # Twice, with either first: what one request may do is not what the next may.
    for _ in range(2):
        for path in ("syft-sync/api/pause", "syft-sync/api/capture", "syft-sync/restart"):
            answer = guarded.post(path)
            assert answer.status == 403
            assert "not authorized to write" in answer.json["message"]
        assert guarded.status()["running"] is True
        assert guarded.get("syft-sync/api/changes").status == 200
        assert guarded.request("HEAD", "syft-sync/api/status").status == 200
        assert state(guarded) == "recording"


def test_who_may_not_read_contents_sees_no_history(tmp_path: Path) -> None:
    (tmp_path / "nothing_at_all.py").write_text(
        "from jupyter_server.auth import Authorizer\n"
        "class Nothing(Authorizer):\n"
        "    def is_authorized(self, handler, user, action, resource):\n"
        "        return resource != 'contents'\n"
    )
    config = {"ServerApp": {"authorizer_class": "nothing_at_all.Nothing"}}
    with running(config, env={"PYTHONPATH": str(tmp_path)}) as server:
        for path in READS:
            assert server.get(path).status == 403
