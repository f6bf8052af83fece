"""The provider that the measured servers ask: OpenAI's wire on raw sockets, chunks encoded beforehand.

`GET /asked/MARK` answers with the monotonic time in ns when a request with that mark arrived, `GET /closed/MARK`
when its socket closed; both wait for it, and answer `null` after 5 s.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from time import monotonic_ns
from typing import cast

import uvloop

from benchmarks.children import run_until_orphaned
from benchmarks.script import Script, find

_PATIENCE_S = 5.0

_WORDS = (" the", " model", " says", " what", " it", " was", " told", ",", " and", " then", " more", ".")


def _chunk(data: str) -> bytes:
    event = b"data: " + data.encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def _json(delta: str, finish: str = "null") -> str:
    return (
        '{"id":"chatcmpl-CbYqL2sZf8Xw0uJm5KtP3nRvHd7Ga","object":"chat.completion.chunk","created":1763612345,'
        '"model":"bench-1","service_tier":"default","system_fingerprint":"fp_44709d6fcb","choices":[{"index":0,'
        '"delta":' + delta + ',"logprobs":null,"finish_reason":' + finish + '}],"usage":null,"obfuscation":"Zq3vT9"}'
    )


_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\nx-request-id: req_5f0c1d\r\n\r\n"
)
_ROLE = _chunk(_json('{"role":"assistant","content":"","refusal":null}'))
_TOKENS = [_chunk(_json('{"content":"' + word + '"}')) for word in _WORDS]
_END = _chunk(_json("{}", '"stop"')) + _chunk("[DONE]") + b"0\r\n\r\n"


@lru_cache
def _tokens(at: int, count: int) -> bytes:
    return b"".join(_TOKENS[(at + step) % len(_TOKENS)] for step in range(count))


class Marks:
    """When what happened, by mark."""

    def __init__(self) -> None:
        self._times: defaultdict[str, asyncio.Future[int]] = defaultdict(asyncio.get_running_loop().create_future)

    def note(self, what: str) -> None:
        if not self._times[what].done():
            self._times[what].set_result(monotonic_ns())

    async def when(self, what: str) -> int | None:
        try:
            return await asyncio.wait_for(asyncio.shield(self._times[what]), _PATIENCE_S)
        except TimeoutError:
            return None


class Connection(asyncio.Protocol):
    """One connection, of one request after another."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._request = bytearray()
        self._script = Script()
        self._sent = 0
        self._next_s = 0.0
        self._is_replying = False
        self._is_full = False
        self._timer: asyncio.Handle | None = None
        self._telling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is none

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_replying:
            self._marks.note(f"closed/{self._script.mark}")
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._step()

    def data_received(self, data: bytes) -> None:
        self._request += data
        head_end = self._request.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._request[:head_end]).lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._request) < head_end + 4 + length:
            return
        request = bytes(self._request)
        self._request.clear()
        if request.startswith(b"GET "):
            self._telling = self._loop.create_task(self._tell(request.split(b" ", 2)[1].decode().lstrip("/")))
        else:
            self._reply(find(request))

    async def _tell(self, what: str) -> None:
        said = str(await self._marks.when(what) or "null")
        if self._transport is not None:
            self._transport.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(said)}\r\n\r\n{said}".encode())
            self._transport.close()

    def _reply(self, script: Script) -> None:
        self._script = script
        self._sent = 0
        self._is_replying = True
        self._marks.note(f"asked/{script.mark}")
        if script.answers:
            assert self._transport is not None
            self._transport.write(_HEAD + _ROLE)
            self._next_s = self._loop.time()
            self._step()

    def _step(self) -> None:
        """Send what is due, and come again: after a pause, or after the other connections had their turn."""
        script, transport = self._script, self._transport
        if transport is None or self._is_full or not self._is_replying:
            return
        if self._sent >= script.count:
            if script.ends:
                self._is_replying = False
                transport.write(_END)
            return
        count = min(script.per_write, script.count - self._sent)
        transport.write(_tokens(self._sent % len(_TOKENS), count))
        self._sent += count
        if script.rate_hz:
            self._next_s += count / script.rate_hz
            self._timer = self._loop.call_at(self._next_s, self._step)
        else:
            self._timer = self._loop.call_soon(self._step)


async def _serve(announce: Callable[[str], None]) -> None:
    marks = Marks()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(marks), "127.0.0.1", 0, backlog=1024)
    announce(f"ready {server.sockets[0].getsockname()[1]}")
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(run_until_orphaned(_serve))
