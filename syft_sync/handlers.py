"""HTTP handlers below `<base_url>/syft-sync/`: what Jupyter lets in is passed on to the sidecar, and nothing else."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import quote, unquote, urlencode

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.httputil import HTTPHeaders, parse_response_start_line
from tornado.iostream import IOStream, StreamClosedError

from .sidecar import Sidecar

AUTH_RESOURCE = "contents"
TO_SIDECAR = ("Accept", "Content-Type", "Range", "If-None-Match", "Last-Event-ID", "X-Syft-Sync-Request")
FROM_SIDECAR = (
    "Content-Type",
    "Content-Length",
    "Content-Disposition",
    "Content-Range",
    "Accept-Ranges",
    "ETag",
    "Cache-Control",
    "Content-Security-Policy",
    "X-Content-Type-Options",
    "X-Accel-Buffering",
    "Retry-After",
)
LARGEST_BODY = 1 << 20
LARGEST_HEAD = 1 << 16
PIECE = 1 << 16
WAIT_FOR_START = 10.0


class SidecarHandler(APIHandler):
    """Authentication, authorization and XSRF as Jupyter's own API has them; 403 in JSON instead of a login page."""

    auth_resource = AUTH_RESOURCE

    def initialize(self, sidecar: Sidecar) -> None:
        self.sidecar = sidecar

    def update_api_activity(self) -> None:
        """A panel that listens is no sign of a person: it must not keep an idle server alive."""

    def fail(self, status: int, code: str, message: str) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"error": {"code": code, "message": message}}))


class StatusHandler(SidecarHandler):
    @web.authenticated
    @authorized
    def get(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(self.sidecar.status()))


class RestartHandler(SidecarHandler):
    @web.authenticated
    @authorized
    async def post(self) -> None:
        self.sidecar.restart_now()
        await self.sidecar.wait_running(WAIT_FOR_START)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(self.sidecar.status()))


class ProxyHandler(SidecarHandler):
    """One request, passed on over the unix socket and streamed back: nothing is buffered, nothing is limited in length."""

    _upstream: IOStream | None = None

    def compute_etag(self) -> str | None:
        return None

    def set_default_headers(self) -> None:
        """The sidecar says what its answers are."""

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if self._upstream is not None:
            self._upstream.close()

    @web.authenticated
    @authorized
    async def get(self, path: str) -> None:
        await self._pass_on(path)

    @web.authenticated
    @authorized
    async def head(self, path: str) -> None:
        await self._pass_on(path)

    @web.authenticated
    @authorized
    async def post(self, path: str) -> None:
        await self._pass_on(path)

    @web.authenticated
    @authorized
    async def put(self, path: str) -> None:
        await self._pass_on(path)

    @web.authenticated
    @authorized
    async def delete(self, path: str) -> None:
        await self._pass_on(path)

    def _target(self, path: str) -> str | None:
        parts = [unquote(part) for part in path.split("/")]
        if any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
            return None
        # The token may stand in the address (server-sent events cannot send headers); it is Jupyter's, not the sidecar's.
        query = [
            (name, value)
            for name, values in self.request.query_arguments.items()
            if name != "token"
            for value in values
        ]
        target = "/api/" + "/".join(quote(part, safe="") for part in parts)
        return f"{target}?{urlencode(query)}" if query else target

    def _head(self, target: str, body: bytes) -> bytes:
        lines = [f"{self.request.method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
        lines.append(f"X-Syft-Sync-Secret: {self.sidecar.secret}")
        headers = self.request.headers
        for name in TO_SIDECAR:
            value = headers.get(name)
            if value is not None and "\r" not in value and "\n" not in value:
                lines.append(f"{name}: {value}")
        if self.request.method not in ("GET", "HEAD"):
            # Jupyter has checked its XSRF token: the sidecar is told that this is no forged form.
            if "X-Syft-Sync-Request" not in headers:
                lines.append("X-Syft-Sync-Request: 1")
            if "Content-Type" not in headers:
                lines.append("Content-Type: application/json")
            lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    async def _pass_on(self, path: str) -> None:
        target = self._target(path)
        if target is None:
            self.fail(400, "BAD_REQUEST", "That is not an address of Syft Sync.")
            return
        body: bytes = self.request.body or b""
        if len(body) > LARGEST_BODY:
            self.fail(413, "BAD_REQUEST", "The request is too large.")
            return
        # While it starts, waiting is right; once it is known why it does not run, it is not.
        if not self.sidecar.running and "reason" in self.sidecar.status():
            self.fail(503, "NOT_RUNNING", self.sidecar.status()["message"])
            return
        if not self.sidecar.running and not await self.sidecar.wait_running(WAIT_FOR_START):
            message = self.sidecar.status().get("message", "The sidecar is not running.")
            self.fail(503, "NOT_RUNNING", message)
            return
        stream = IOStream(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), max_buffer_size=4 * PIECE + LARGEST_HEAD)
        self._upstream = stream
        try:
            await stream.connect(self.sidecar.socket_path)  # type: ignore[arg-type]
            await stream.write(self._head(target, body) + body)
            head = await stream.read_until(b"\r\n\r\n", max_bytes=LARGEST_HEAD)
        except (OSError, StreamClosedError) as error:
            stream.close()
            self.fail(503, "NOT_RUNNING", f"The sidecar does not answer: {error}.")
            return
        try:
            await self._answer(stream, head)
        except StreamClosedError:
            # Either side went away in the middle: the other must not take what it has for the whole.
            self._abort()
        finally:
            stream.close()

    def _abort(self) -> None:
        connection = getattr(self.request.connection, "stream", None)
        if connection is not None and not connection.closed():
            connection.close()

    async def _answer(self, stream: IOStream, head: bytes) -> None:
        first, _, rest = head.decode("latin-1").partition("\r\n")
        start = parse_response_start_line(first)
        headers = HTTPHeaders.parse(rest)
        self.clear_header("Content-Type")
        self.set_status(start.code, start.reason)
        for name in FROM_SIDECAR:
            if name in headers:
                self.set_header(name, headers[name])
        if self.request.method == "HEAD" or start.code in (204, 304):
            await self.finish()
            return
        await self.flush()
        if headers.get("Transfer-Encoding", "").lower() == "chunked":
            await self._copy_chunked(stream)
        elif "Content-Length" in headers:
            await self._copy(stream, int(headers["Content-Length"]))
        else:
            await self._copy_to_end(stream)
        await self.finish()

    async def _send(self, data: bytes) -> None:
        self.write(data)
        await self.flush()

    async def _copy(self, stream: IOStream, length: int) -> None:
        while length > 0:
            data = await stream.read_bytes(min(PIECE, length), partial=True)
            length -= len(data)
            await self._send(data)

    async def _copy_chunked(self, stream: IOStream) -> None:
        while True:
            line = await stream.read_until(b"\r\n", max_bytes=64)
            length = int(line.split(b";")[0], 16)
            if length == 0:
                return
            await self._copy(stream, length)
            await stream.read_bytes(2)

    async def _copy_to_end(self, stream: IOStream) -> None:
        while True:
            try:
                await self._send(await stream.read_bytes(PIECE, partial=True))
            except StreamClosedError:
                if stream.closed():
                    return
                raise


def handlers(base_url: str, sidecar: Sidecar) -> list[tuple[str, type[SidecarHandler], dict[str, Any]]]:
    """Routes for the web application."""
    prefix = url_path_join(base_url, "syft-sync")
    options = {"sidecar": sidecar}
    return [
        (url_path_join(prefix, "status"), StatusHandler, options),
        (url_path_join(prefix, "restart"), RestartHandler, options),
        (url_path_join(prefix, r"api/(.+)"), ProxyHandler, options),
    ]


