"""Below a hub's address, and by jupyter-server-proxy where the extension is off: the same routes, the same folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_process import TOKEN, Jupyter, alive, arguments_of, environment_of, recorded, running, syft_sync, until
from test_streaming import events_of

BASE = "/user/ana%40lab/"


@pytest.fixture(scope="module")
def both() -> Iterator[Jupyter]:
    """The extension and the proxy, which offers the same path, below a base_url."""
    with running({"ServerApp": {"base_url": BASE}}, extensions=("jupyter_server_proxy", "syft_sync")) as server:
        server.recording()
        yield server


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """Only the proxy; the server's root is not where the server was started, and its name is an awkward one."""
    settings = {"exclude": ["*.tmp", "{a,b}.c"], "max_content": 1000, "environment": {"KEPT": "{as} it is"}}
    config = {"ServerApp": {"base_url": BASE}, "SyftSync": settings}
    with running(config, extensions=("jupyter_server_proxy",), root="its work {unix_socket} }", cwd=".") as server:
        yield server


def sidecar_of(jupyter: Jupyter) -> int:
    """The sidecar that the proxy started: a child of the server."""
    children = Path(f"/proc/{jupyter.pid}/task/{jupyter.pid}/children").read_text().split()
    [pid] = [int(child) for child in children if "serve" in arguments_of(int(child))]
    return pid


def test_below_a_base_url_all_routes_are_there_and_nowhere_else(both: Jupyter) -> None:
    assert both.get("syft-sync/api/health").json["ok"] is True
    version = both.write("notes.txt", b"notes\n")
    assert both.get(both.content(version)).body == b"notes\n"
    for address, status in ((BASE, b"200"), ("/", b"404"), ("/user/bob/", b"404")):
        head = f"GET {address}syft-sync/api/health HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {TOKEN}"
        assert both.raw(f"{head}\r\nConnection: close\r\n\r\n".encode()).split(b" ")[1] == status


def test_where_both_ways_are_offered_the_extension_answers_and_one_sidecar_runs(both: Jupyter) -> None:
    assert both.get("syft-sync/api/health").status == 200
    assert both.status()["pid"] == sidecar_of(both)
    assert both.get("syft-sync/api/../status").status == 400


def test_by_the_proxy_the_same_addresses_reach_a_sidecar_that_records_the_root(proxied: Jupyter) -> None:
    (proxied.root / "notes.txt").write_text("notes\n")
    health = proxied.get("syft-sync/api/health")
    assert health.status == 200, health.body
    status = until(
        lambda: (s := proxied.get("syft-sync/api/status").json)["state"] == "recording" and s, "the root is recorded"
    )
    assert status["root"] == str(proxied.root)
    version = proxied.write("table.csv", b"a,b\n")
    assert proxied.get(proxied.content(version)).body == b"a,b\n"
    assert {"notes.txt", "table.csv"} <= recorded(proxied.root)
    words = arguments_of(sidecar_of(proxied))
    assert {"--exclude=*.tmp", "--exclude={a,b}.c"} <= set(words)
    assert environment_of(sidecar_of(proxied))["KEPT"] == "{as} it is"


def test_the_configuration_says_what_is_kept_how(proxied: Jupyter) -> None:
    (proxied.root / "left-out.tmp").write_text("x")
    small, large = proxied.write("small.bin", bytes(1000)), proxied.write("large.bin", bytes(1001))
    assert proxied.get(proxied.content(small)).body == bytes(1000)
    refused = proxied.get(proxied.content(large))
    assert refused.json["error"]["code"] == "VERSION_HAS_NO_CONTENT"
    assert "left-out.tmp" not in recorded(proxied.root)


def test_by_the_proxy_changes_are_seen_as_they_happen(proxied: Jupyter) -> None:
    headers = {"Accept": "text/event-stream"}
    with proxied.open("GET", "syft-sync/api/events", headers=headers) as response:
        assert events_of(response, 1)[0]["event"] == "status"
        (proxied.root / "live.txt").write_text("now\n")
        while "live.txt" not in events_of(response, 1)[0]["data"]:
            pass


def test_by_the_proxy_a_user_must_be_logged_in_and_a_forged_form_is_refused(proxied: Jupyter) -> None:
    assert proxied.get("syft-sync/api/changes", token=None).status in (302, 403)
    own = {"X-Syft-Sync-Request": "1"}
    assert proxied.post("syft-sync/api/flush", token=None, headers=own).status in (302, 403)
    # The sidecar refuses before it has read the body: of that the proxy may see only that the connection ends.
    assert proxied.post("syft-sync/api/flush").status in (403, 500)
    assert proxied.post("syft-sync/api/flush", headers=own).json == {"flushed": True}


def test_by_the_proxy_the_secret_is_in_no_command_line_and_no_log_and_all_is_kept_at_the_end(proxied: Jupyter) -> None:
    assert proxied.get("syft-sync/api/health").status == 200
    pid = sidecar_of(proxied)
    secret = environment_of(pid)["SYFT_SYNC_SECRET"]
    assert len(secret) == 64
    assert secret not in " ".join(arguments_of(pid))
    assert os.stat(Path(arguments_of(pid)[-1]).parent).st_mode & 0o777 == 0o700
    proxied.end()
    until(lambda: not alive(pid), "the sidecar ends with the server")
    assert secret not in proxied.log
    assert syft_sync(proxied.root, "fsck").returncode == 0
