"""What the service is compared with: grpc.aio on uvloop with the service's own options, and nothing else.

StreamChat yields messages built beforehand, at the pace that the prompt asks for: what gRPC alone costs. `Relay`
passes the provider's bytes on as they are read, parsing nothing: what any proxy on grpc.aio costs.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # as the service does

import grpc
import grpc.aio
import uvloop

from benchmarks.children import run_until_orphaned
from benchmarks.script import RELAY, STREAM_CHAT, find
from benchmarks.wire import Provider
from stepwire.v1 import chat_pb2
from stepwired.limits import Limits
from stepwired.rpc.server import options

_TOKEN = chat_pb2.StreamChatResponse(text_delta=chat_pb2.TextDelta(text=" model", delta_count=1))
_STARTED = chat_pb2.StreamChatResponse(started=chat_pb2.ChatStarted(model="bench-1", provider="bench"))
_FINISHED = chat_pb2.StreamChatResponse(
    finished=chat_pb2.ChatFinished(reason=chat_pb2.FINISH_REASON_STOP, model="bench-1", provider="bench")
)


class Bare(grpc.GenericRpcHandler):
    """Both methods. A generic handler, as the service has one."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._handlers = {
            STREAM_CHAT: grpc.unary_stream_rpc_method_handler(
                self._generate,
                chat_pb2.StreamChatRequest.FromString,
                chat_pb2.StreamChatResponse.SerializeToString,
            ),
            RELAY: grpc.unary_stream_rpc_method_handler(self._relay, None, None),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        return self._handlers.get(handler_call_details.method)

    async def _generate(
        self, request: chat_pb2.StreamChatRequest, _: Any
    ) -> AsyncGenerator[chat_pb2.StreamChatResponse, None]:
        script = find(request.prompt.encode())
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        yield _STARTED
        for _ in range(script.count):
            yield _TOKEN
            if script.rate_hz:
                next_s += 1 / script.rate_hz
                await asyncio.sleep(next_s - loop.time())
        yield _FINISHED

    async def _relay(self, request: bytes, _: Any) -> AsyncGenerator[bytes, None]:
        # The prompt stands in the request as it is, so the provider finds its script in it.
        async with aclosing(self._provider.post(request)) as reads:
            async for read in reads:
                yield read


async def _serve(announce: Callable[[str], None]) -> None:
    server = grpc.aio.server(handlers=[Bare(Provider(int(sys.argv[1])))], options=options(Limits()))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    announce(f"ready {port}")
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(run_until_orphaned(_serve))
