"""A small real HTTP server in the sidecar's place: keeps every request byte for byte, answers as the path asks."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ANSWERS = {
    "/api/ordinary": HEAD + b"Content-Length: 2\r\n\r\n{}",
    "/api/talkative": HEAD
    + b"Content-Length: 2\r\nETag: \"x\"\r\nCache-Control: no-store\r\nContent-Security-Policy: sandbox\r\n"
    + b"Set-Cookie: taken=over\r\nLocation: https://elsewhere.example/\r\nAccess-Control-Allow-Origin: *\r\n"
    + b"Refresh: 0\r\nX-Syft-Sync-Secret: told\r\nStrict-Transport-Security: max-age=1\r\nServer: Ours\r\n\r\n{}",
    # Each of these ends with the connection.
    "/api/cut-by-length": HEAD + b"Content-Length: 100000\r\n\r\n" + b"x" * 50_000,
    "/api/cut-in-a-chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n" + b"x" * 50_000,
    "/api/cut-between-chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nxxxxx\r\n",
    "/api/cut-without-length": HEAD + b"\r\nxxxxx",
    "/api/broken-chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nxxxxx\r\nno number\r\nxxxxx\r\n0\r\n\r\n",
    "/api/cut-in-the-head": HEAD[:20],
    "/api/cut-at-once": b"",
    "/api/no-http": b"good day\r\n\r\n",
    "/api/two-lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}xxx",
    "/api/split-head": HEAD + b"ETag: x\rSet-Cookie: taken=over\r\nContent-Length: 2\r\n\r\n{}",
    "/api/endless-head": HEAD + b"ETag: " + b"x" * 300_000,
}


async def main() -> None:
    requests = Path(os.environ["RECORD_REQUESTS_IN"])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = await reader.readexactly(length)
        with requests.open("a") as record:
            record.write(json.dumps({"head": head.decode("latin-1"), "body": body.decode("latin-1")}) + "\n")
        path = head.split(b" ")[1].split(b"?")[0].decode()
        writer.write(ANSWERS.get(path, ANSWERS["/api/ordinary"]))
        writer.close()

    place = sys.argv[sys.argv.index("--socket") + 1]
    server = await asyncio.start_unix_server(answer, place)
    print(json.dumps({"listening": {"socket": place}}), flush=True)
    # The life line.
    await asyncio.to_thread(sys.stdin.buffer.read)
    server.close()


if "--version" in sys.argv:
    print("v24.0.0")
else:
    asyncio.run(main())
