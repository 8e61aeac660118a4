"""The rivals: what one writes by hand, from the first idea to a good one, and the limit of this machine."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from benchmarks import rows
from benchmarks.process import Job, Work, work
from benchmarks.server import KEY

#: Messages that warm a process up.
WARM = 20


def naive(job: Job) -> int:
    """Call ``requests.post`` for each row."""
    import requests

    url, wire = f"{job['url']}/{job['wire']}/send_message", job["wire"]
    ids = []
    for row in rows.read(job["path"]):
        reply = requests.post(
            url, data=rows.body(row, wire), headers=rows.HEADERS[wire], timeout=30, verify=job["ca"]
        )
        ids.append(rows.message_id(reply.content, wire))
    return len(ids)


def threads(job: Job) -> int:
    """Share a ``requests.Session``, with as many connections as there are threads."""
    import requests
    from requests.adapters import HTTPAdapter

    url, wire = f"{job['url']}/{job['wire']}/send_message", job["wire"]
    with requests.Session() as session, ThreadPoolExecutor(job["connections"]) as pool:
        session.verify = job["ca"]
        session.mount(job["url"], HTTPAdapter(pool_maxsize=job["connections"]))

        def send(row: dict[str, str]) -> str:
            reply = session.post(url, data=rows.body(row, wire), headers=rows.HEADERS[wire], timeout=30)
            return rows.message_id(reply.content, wire)

        return len(list(pool.map(send, rows.read(job["path"]))))


def gather(job: Job) -> int:
    """Gather one aiohttp task per row, so many of them at a time."""
    import aiohttp

    url, wire = f"{job['url']}/{job['wire']}/send_message", job["wire"]

    async def main() -> int:
        connector = aiohttp.TCPConnector(limit=job["connections"], ssl=_context(job))
        at_once = asyncio.Semaphore(job["connections"])
        async with aiohttp.ClientSession(connector=connector, headers=rows.HEADERS[wire]) as session:

            async def send(row: dict[str, str]) -> str:
                async with at_once, session.post(url, data=rows.body(row, wire)) as reply:
                    return rows.message_id(await reply.read(), wire)

            return len(await asyncio.gather(*[send(row) for row in rows.read(job["path"])]))

    return asyncio.run(main())


def workers(job: Job) -> int:
    """Let an aiohttp worker a connection pull rows: the best one writes by hand; it records nothing."""
    import aiohttp

    url, wire = f"{job['url']}/{job['wire']}/send_message", job["wire"]

    async def main() -> int:
        connector = aiohttp.TCPConnector(limit=0, ssl=_context(job))
        todo, ids = rows.read(job["path"]), []
        async with aiohttp.ClientSession(connector=connector, headers=rows.HEADERS[wire]) as session:

            async def pull() -> None:
                for row in todo:
                    async with session.post(url, data=rows.body(row, wire)) as reply:
                        ids.append(rows.message_id(await reply.read(), wire))

            await asyncio.gather(*[pull() for _ in range(job["connections"])])
        return len(ids)

    return asyncio.run(main())


def _context(job: Job) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=job["ca"]) if job["url"].startswith("https") else True


class Raw(asyncio.Protocol):
    """Writes a request that was made before, and the next one as soon as a reply is whole."""

    def __init__(self, todo: Iterator[bytes], last: asyncio.Future[None]) -> None:
        self.todo, self.last, self.unread = todo, last, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.next()

    def next(self) -> None:
        request = next(self.todo, None)
        if request is not None:
            self.transport.write(request)
        elif not self.last.done():
            self.last.set_result(None)

    def data_received(self, data: bytes) -> None:
        self.unread += data
        end = self.unread.find(b"\r\n\r\n")
        if end < 0:
            return
        start = self.unread.index(b"content-length: ") + 16
        if len(self.unread) >= end + 4 + int(self.unread[start : self.unread.index(b"\r", start)]):
            self.unread = b""
            self.next()


def _same(client: Raw) -> Raw:
    return client


def limit(job: Job) -> Work:
    """
    Write the same requests to as many bare sockets, and read no more of the replies than where they end.

    No client that reads rows, makes requests and understands replies can be faster on this machine.
    """
    import uvloop

    where = urlsplit(job["url"])
    requests = list(_requests(job))
    context = ssl.create_default_context(cafile=job["ca"]) if where.scheme == "https" else None

    async def main() -> None:
        loop = asyncio.get_running_loop()
        todo = iter(requests)
        clients = [Raw(todo, loop.create_future()) for _ in range(job["connections"])]
        opening = [
            loop.create_connection(
                partial(_same, client), str(where.hostname), int(where.port or 0), ssl=context
            )
            for client in clients
        ]
        await asyncio.gather(*opening)
        await asyncio.gather(*(client.last for client in clients))
        for client in clients:
            client.transport.close()

    def run() -> Job:
        uvloop.run(main())
        return {"sent": job["rows"]}

    return run


def _requests(job: Job) -> Iterator[bytes]:
    wire, host = job["wire"], urlsplit(job["url"]).netloc
    if wire == "v2":
        phones = [row["phone"] for row in rows.read(job["path"])]
        size = job["batch_size"]
        bodies = (rows.body_v2(phones[start : start + size]) for start in range(0, len(phones), size))
        path, kind = "/v2/messages", f"application/json\r\nX-API-KEY: {KEY}"
    else:
        bodies = (rows.body(row, wire) for row in rows.read(job["path"]))
        path, kind = f"/{wire}/send_message", f"application/{wire}"
    for body in bodies:
        lines = (
            f"POST {path} HTTP/1.1",
            f"Host: {host}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
        )
        yield "\r\n".join((*lines, "", "")).encode() + body


RIVALS = {"naive": naive, "threads": threads, "gather": gather, "workers": workers}


def prepare(job: Job) -> Work:
    """Warm up."""
    if job["variant"] == "limit":
        return limit(job)
    rival = RIVALS[job["variant"]]
    rival({**job, "path": job["warm_path"]})
    return lambda: {"sent": rival(job)}


if __name__ == "__main__":
    work(prepare)
