"""The two calls of StepRunService that go both ways, on a real server of their own, and the other side of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf import json_format, struct_pb2

from stepwire.v1 import step_run_pb2, step_run_pb2_grpc
from stepwired.errors import Failure
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.rpc.calls import Calls
from stepwired.rpc.convert.values import failure_message, value_of_json
from stepwired.rpc.gate import Gate
from stepwired.rpc.interactive import run_interactive
from stepwired.rpc.server import options
from stepwired.rpc.workers import WorkerServicer
from stepwired.steps.remote import Facts, Served
from stepwired.steps.workers import Workers
from stepwired.store.codec.values import json_of_value
from tests.rpc.serving import SOON_S, Recorder, read, within

V = step_run_pb2
FACTS = Facts("run-1", "steps[0]", (0,))

#: What a run does: gives values and failures, calls functions.
Script = Callable[[Served], AsyncGenerator[Any, None]]


async def nothing(_: Served) -> AsyncGenerator[Json, None]:
    return
    yield


def is_taken(name: str) -> bool:
    return name == "upper"


@dataclass
class Talking:
    """A server, and a connection to it."""

    port: int
    calls: Calls
    workers: Workers
    channel: grpc.aio.Channel
    metrics: Recorder
    ended: list[None] = field(default_factory=list)
    """One entry for each run that has ended, however it did."""

    @property
    def stub(self) -> step_run_pb2_grpc.StepRunServiceAsyncStub:
        return step_run_pb2_grpc.StepRunServiceStub(self.channel)

    async def caller(self, **start: Any) -> Other:
        """Begin an interactive run."""
        other = Other(self.stub.RunInteractive(), V.RunInteractiveRequest)
        await other.send(start=V.RunStepRequest(**start))
        return other

    async def worker(self, *names: str, room: int = 1) -> Other:
        """Register a worker."""
        other = Other(self.stub.ServeSteps(), V.ServeStepsRequest)
        steps = [V.WorkerStep(name=name) for name in names]
        await other.send(register=V.WorkerRegistration(steps=steps, max_in_flight=room))
        assert (await other.receive()).HasField("accepted")
        return other


class Other:
    """The other side of a call."""

    def __init__(self, call: Any, message: type[V.RunInteractiveRequest | V.ServeStepsRequest]) -> None:
        self.call = call
        self.seen: list[Any] = []
        """All that was received."""
        self._message = message

    async def send(self, **kind: Any) -> None:
        await within(self.call.write(self._message(**kind)))

    async def reply(self, call_id: str, **kind: Any) -> None:
        await self.send(reply=V.CallReply(call_id=call_id, **kind))

    async def output(self, call_id: str, value: Json) -> None:
        await self.reply(call_id, output=value_of_json(value))

    async def done(self, call_id: str, *values: Json) -> None:
        await self.reply(call_id, done=V.CallDone(outputs=map(value_of_json, values)))

    async def receive(self) -> Any:
        message = await read(self.call)
        self.seen.append(message)
        return message

    async def asked(self) -> V.Call:
        """The next call; anything else before it is passed over."""
        while not (message := await self.receive()).HasField("call"):
            pass
        return message.call  # type: ignore[no-any-return]

    async def dropped(self, count: int) -> set[str]:
        """The ids of the next calls that are cancelled; anything else before them is passed over."""
        ids: set[str] = set()
        while len(ids) < count:
            if (message := await self.receive()).HasField("cancel_call"):
                ids.add(message.cancel_call.call_id)
        return ids

    async def rest(self) -> list[Any]:
        """All that comes until the end, heartbeats left out."""
        told = []
        while (message := await self.receive()) is not grpc.aio.EOF:
            if message.WhichOneof("kind") != "heartbeat":
                told.append(message)
        return told

    async def values(self) -> list[Json]:
        """The values among all that comes until the end."""
        return [
            json_of_value(message.event.value)
            for message in await self.rest()
            if message.HasField("event") and message.event.HasField("value")
        ]


@asynccontextmanager
async def talking(script: Script = nothing, limits: Limits | None = None) -> AsyncIterator[Talking]:
    limits = limits or Limits()
    metrics = Recorder()
    calls = Calls(limits, metrics)
    gate = Gate(calls)
    workers = Workers(limits, is_taken)
    ended: list[None] = []

    async def events(served: Served) -> AsyncGenerator[V.RunStepResponse, None]:
        seq = 0
        try:
            async with aclosing(script(served)) as values:
                async for value in values:
                    seq += 1
                    if isinstance(value, Failure):
                        yield V.RunStepResponse(seq=seq, failure=failure_message(value))
                    else:
                        yield V.RunStepResponse(seq=seq, value=value_of_json(value))
            yield V.RunStepResponse(seq=seq + 1, finished=V.RunFinished(results=seq))
        finally:
            ended.append(None)

    async def begin(
        request: V.RunStepRequest, served: Served, _: float | None
    ) -> tuple[str, AsyncGenerator[V.RunStepResponse, None]]:
        return request.run_id or "run-1", events(served)

    async def interactive(requests: Any, context: Any) -> AsyncGenerator[V.RunInteractiveResponse, None]:
        async with aclosing(run_interactive(begin, limits, requests, context)) as responses:
            async for response in responses:
                yield response

    gate.serve(
        "stepwire.v1.StepRunService", _handlers(interactive, WorkerServicer(workers, limits)), serving={"ServeSteps"}
    )
    server = grpc.aio.server(handlers=[gate], options=options(limits))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Talking(port, calls, workers, channel, metrics, ended)
    finally:
        await calls.places.drain(0)
        await server.stop(None)
        await calls.places.join()


def _handlers(interactive: Any, workers: WorkerServicer) -> Mapping[str, Any]:
    return {
        "RunInteractive": grpc.stream_stream_rpc_method_handler(
            interactive, V.RunInteractiveRequest.FromString, V.RunInteractiveResponse.SerializeToString
        ),
        "ServeSteps": grpc.stream_stream_rpc_method_handler(
            workers.serve, V.ServeStepsRequest.FromString, V.ServeStepsResponse.SerializeToString
        ),
    }


async def ended(call: Any) -> None:
    """Cancel a call, and wait until its client has taken note."""
    call.cancel()
    await within(call.code())


@contextmanager
def saying(server: Talking) -> Iterator[Callable[[str, Sequence[Any]], Awaitable[None]]]:
    """Makes calls of a method with some messages, whatever comes of them.

    In threads: the asynchronous client keeps a task for each call that ended with messages unread.
    """
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub: Any = step_run_pb2_grpc.StepRunServiceStub(channel)

        def say(method: str, messages: Sequence[Any]) -> None:
            with suppress(grpc.RpcError):
                for _ in getattr(stub, method)(iter(messages), timeout=SOON_S):
                    pass

        async def saying(method: str, messages: Sequence[Any]) -> None:
            await asyncio.to_thread(say, method, messages)

        yield saying


def number(value: float) -> struct_pb2.Value:
    return struct_pb2.Value(number_value=value)


async def begun(stub: Any, method: str, steps: Sequence[Any], value: Any, timeout_s: float | None = None) -> Any:
    """A run that goes on behind failures, begun by any of the three calls that can; nothing of it has been read."""
    fields = {"steps": steps, "input": value, "error_mode": "ERROR_MODE_CONTINUE"}
    if method == "CollectStep":
        return stub.CollectStep(json_format.ParseDict(fields, V.CollectStepRequest()), timeout=timeout_s)
    start = json_format.ParseDict(fields, V.RunStepRequest())
    if method == "RunStep":
        return stub.RunStep(start, timeout=timeout_s)
    call = stub.RunInteractive(timeout=timeout_s)
    with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):  # its deadline may have passed
        await within(call.write(V.RunInteractiveRequest(start=start)))
    return call
