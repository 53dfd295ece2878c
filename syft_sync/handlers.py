"""HTTP handlers below `<base_url>/syft-sync/`: what Jupyter lets in is passed on to the sidecar, and nothing else."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
from typing import Any
from urllib.parse import urlencode

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError

from .sidecar import Sidecar

TO_SIDECAR = ("Accept", "Content-Type", "Range", "If-Range", "If-None-Match", "Last-Event-ID")
FROM_SIDECAR = (
    "Content-Type",
    "Content-Length",
    "Content-Disposition",
    "Content-Range",
    "Accept-Ranges",
    "ETag",
    "Cache-Control",
    "Content-Security-Policy",
    "Cross-Origin-Resource-Policy",
    "Referrer-Policy",
    "X-Content-Type-Options",
    "X-Accel-Buffering",
    "Retry-After",
)
# All that the sidecar's addresses are made of; nothing in them needs escaping, and no part is `.` or `..`.
ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]*(?:/[A-Za-z0-9][A-Za-z0-9._~-]*)*")
# Older tornados let them in and out.
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
READS = ("GET", "HEAD")
LARGEST_BODY = 1 << 20
LARGEST_HEAD = 1 << 16
PIECE = 1 << 16
WAIT_FOR_START = 10.0


class SidecarHandler(APIHandler):
    """Authentication, authorization and XSRF as Jupyter's own API has them; 403 in JSON instead of a login page."""

    auth_resource = "contents"
    # A panel that listens is no sign of a person: it must not keep an idle server alive.
    _track_activity = False

    def initialize(self, sidecar: Sidecar) -> None:
        self.sidecar = sidecar

    def fail(self, status: int, code: str, message: str) -> None:
        self.set_status(status)
        self.finish(json.dumps({"error": {"code": code, "message": message}}))


class StatusHandler(SidecarHandler):
    @web.authenticated
    @authorized
    def get(self) -> None:
        self.finish(json.dumps(self.sidecar.status()))


class RestartHandler(SidecarHandler):
    @web.authenticated
    @authorized
    async def post(self) -> None:
        self.sidecar.restart_now()
        await self.sidecar.settled(WAIT_FOR_START)
        self.finish(json.dumps(self.sidecar.status()))


class ProxyHandler(SidecarHandler):
    """One request, passed on over the unix socket and streamed back: nothing is buffered, nothing is limited in length."""

    _upstream: IOStream | None = None

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if self._upstream is not None:
            self._upstream.close()

    # `authorized` keeps the action of the first call: each method needs its own.

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
    async def patch(self, path: str) -> None:
        await self._pass_on(path)

    @web.authenticated
    @authorized
    async def delete(self, path: str) -> None:
        await self._pass_on(path)

    def _target(self, path: str) -> str | None:
        # Tornado has decoded the path: where that made a difference, somebody plays with escapes.
        if not ADDRESS.fullmatch(path) or not self.request.path.endswith(f"/api/{path}"):
            return None
        # The token may stand in the address (server-sent events cannot send headers); it is Jupyter's, not the sidecar's.
        query = {name: values for name, values in self.request.query_arguments.items() if name != "token"}
        return f"/api/{path}?{urlencode(query, doseq=True)}" if query else f"/api/{path}"

    def _for_sidecar(self, length: int) -> HTTPHeaders:
        given = self.request.headers
        headers = HTTPHeaders({name: given[name] for name in TO_SIDECAR if name in given and not CONTROL.search(given[name])})
        headers["Host"] = "localhost"
        headers["Connection"] = "close"
        headers["X-Syft-Sync-Secret"] = self.sidecar.secret
        if self.request.method not in READS:
            # Jupyter has checked its XSRF token: the sidecar is told that this is no forged form.
            headers["X-Syft-Sync-Request"] = "1"
            headers.setdefault("Content-Type", "application/json")
            headers["Content-Length"] = str(length)
        return headers

    async def _pass_on(self, path: str) -> None:
        target = self._target(path)
        body = b"" if self.request.method in READS else self.request.body
        if target is None:
            self.fail(400, "BAD_REQUEST", "That is not an address of Syft Sync.")
            return
        if len(body) > LARGEST_BODY:
            self.fail(413, "BAD_REQUEST", "The request is too large.")
            return
        if not await self._is_running():
            return
        try:
            connection = await self._connect(target, len(body))
            if body:
                await connection.write(body)
        except (OSError, ValueError) as error:
            self._broke_off(error)
            return
        await self._answer(connection)

    async def _is_running(self) -> bool:
        if await self.sidecar.settled(WAIT_FOR_START):
            return True
        self.fail(503, "NOT_RUNNING", self.sidecar.status()["message"])
        return False

    async def _connect(self, target: str, length: int) -> HTTP1Connection:
        """A request to the sidecar, with a body of so many bytes still to come. Raises OSError, ValueError."""
        stream = IOStream(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), max_buffer_size=4 * PIECE)
        self._upstream = stream
        limits = HTTP1ConnectionParameters(chunk_size=PIECE, max_header_size=LARGEST_HEAD, max_body_size=sys.maxsize)
        await stream.connect(self.sidecar.socket_path)  # type: ignore[arg-type]
        connection = HTTP1Connection(stream, True, limits)
        await connection.write_headers(RequestStartLine(self.request.method or "", target, ""), self._for_sidecar(length))
        return connection

    async def _answer(self, connection: HTTP1Connection) -> None:
        """The sidecar's answer to what was sent whole, passed back as it comes."""
        stream = self._upstream
        assert stream is not None
        answer = Answer(self, stream)
        try:
            connection.finish()
            await connection.read_response(answer)
        except (OSError, ValueError, HTTPInputError) as error:
            self.log.debug("Syft Sync: the sidecar's answer broke off: %s", error)
        finally:
            stream.close()
        if answer.whole:
            await self.finish(set_content_type=answer.content_type)
        elif answer.begun:
            # Nobody must take what they have for the whole.
            self.detach().close()
        else:
            self.fail(503, "NOT_RUNNING", "The sidecar does not answer.")

    def _broke_off(self, error: Exception) -> None:
        self.log.debug("Syft Sync: the sidecar does not take the request: %s", error)
        if self._upstream is not None:
            self._upstream.close()
        self.fail(503, "NOT_RUNNING", "The sidecar does not answer.")


@web.stream_request_body
class UploadHandler(ProxyHandler):
    """A message on its way to the inbox, of any length: each piece is passed on before the next is read from the browser."""

    _connection: HTTP1Connection | None = None

    async def prepare(self) -> None:  # type: ignore[override]
        # Here Jupyter checks who it is and where the request comes from: nothing has been passed on before.
        await super().prepare()
        if self._finished or self.request.method != "POST":
            return
        await self._open()

    @web.authenticated
    @authorized
    async def _open(self) -> None:
        length = self.request.headers.get("Content-Length", "")
        if not length.isdecimal():
            self.fail(411, "BAD_REQUEST", "The request needs the header Content-Length.")
            return
        # How much a message may have the sidecar knows, and counts.
        self.request.connection.set_max_body_size(sys.maxsize)  # type: ignore[union-attr]
        if not await self._is_running():
            return
        try:
            self._connection = await self._connect("/api/messages/receive", int(length))
        except (OSError, ValueError) as error:
            self._broke_off(error)

    async def data_received(self, chunk: bytes) -> None:
        if self._connection is None:
            return
        try:
            await self._connection.write(chunk)
        except (OSError, ValueError) as error:
            self._connection = None
            self._broke_off(error)

    @web.authenticated
    @authorized
    async def post(self, path: str = "") -> None:
        if self._connection is not None:
            await self._answer(self._connection)


class Answer(HTTPMessageDelegate):
    """The sidecar's answer, written to the browser as it comes: the next piece is read when the last has gone."""

    def __init__(self, handler: ProxyHandler, upstream: IOStream) -> None:
        self.begun = False
        self.whole = False
        self.content_type = ""
        self._accepted = False
        self._handler = handler
        self._upstream = upstream

    async def headers_received(self, start_line: Any, headers: HTTPHeaders) -> None:
        assert isinstance(start_line, ResponseStartLine)
        handler = self._handler
        bare = handler.request.method == "HEAD" or start_line.code in (204, 304)
        length, chunked = headers.get("Content-Length"), "Transfer-Encoding" in headers
        passed_on = {name: headers[name] for name in FROM_SIDECAR if name in headers}
        if (
            (length is not None and not length.isdecimal())
            # The end of such an answer cannot be told from a cut.
            or (not bare and chunked == (length is not None))
            or any(CONTROL.search(value) for value in passed_on.values())
        ):
            self._upstream.close()
            return
        self._accepted = True
        handler.set_status(start_line.code, start_line.reason)
        for name, value in passed_on.items():
            handler.set_header(name, value)
        self.content_type = headers.get("Content-Type", "application/octet-stream")
        if not bare:
            self.begun = True
            with contextlib.suppress(StreamClosedError):
                await handler.flush()

    async def data_received(self, chunk: bytes) -> None:
        if self.begun:
            with contextlib.suppress(StreamClosedError):
                self._handler.write(chunk)
                await self._handler.flush()

    def finish(self) -> None:
        self.whole = self._accepted


def handlers(base_url: str, sidecar: Sidecar) -> list[tuple[str, type[SidecarHandler], dict[str, Any]]]:
    """Routes for the web application."""
    prefix = url_path_join(base_url, "syft-sync")
    options = {"sidecar": sidecar}
    return [
        (url_path_join(prefix, "status"), StatusHandler, options),
        (url_path_join(prefix, "restart"), RestartHandler, options),
        (url_path_join(prefix, "api/messages/receive"), UploadHandler, options),
        (url_path_join(prefix, "api/(.*)"), ProxyHandler, options),
    ]
