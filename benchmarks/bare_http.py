"""What the HTTP front is compared with: Starlette on uvicorn and uvloop, and nothing else.

`/generate` streams events built beforehand, at the pace that the prompt asks for: what a stream costs there alone. The
front's own path passes the provider's bytes on as they are read, parsing nothing.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from benchmarks.children import run_until_orphaned
from benchmarks.script import HTTP, HTTP_GENERATE, find
from benchmarks.wire import Provider

_HEAD = b'"id":"chatcmpl-9122ee84-875a-40c8-893f-f44b2e4cbe9e","object":"chat.completion.chunk","created":1795180454'
_CHOICE = b'{"index":0,"delta":{"content":" model"},"logprobs":null,"finish_reason":null}'
_TOKEN = b'data: {%b,"model":"bench-1","choices":[%b]}\n\n' % (_HEAD, _CHOICE)
_DONE = b"data: [DONE]\n\n"


async def _generated(request: bytes) -> AsyncGenerator[bytes, None]:
    script = find(request)
    loop = asyncio.get_running_loop()
    next_s = loop.time()
    for _ in range(script.count):
        yield _TOKEN
        if script.rate_hz:
            next_s += 1 / script.rate_hz
            await asyncio.sleep(next_s - loop.time())
    yield _DONE


async def _relayed(provider: Provider, request: bytes) -> AsyncGenerator[bytes, None]:
    async with aclosing(provider.post(request)) as reads:
        async for read in reads:
            yield read


async def _serve(announce: Callable[[str], None]) -> None:
    provider = Provider(int(sys.argv[1]))

    async def generate(request: Request) -> StreamingResponse:
        return StreamingResponse(_generated(await request.body()), media_type="text/event-stream")

    async def relay(request: Request) -> StreamingResponse:
        return StreamingResponse(_relayed(provider, await request.body()), media_type="text/event-stream")

    routes = [Route(HTTP, relay, methods=["POST"]), Route(HTTP_GENERATE, generate, methods=["POST"])]
    config = uvicorn.Config(Starlette(routes=routes), http="httptools", log_config=None, access_log=False)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        announce(f"ready {listener.getsockname()[1]}")
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    uvloop.run(run_until_orphaned(_serve))
