"""A server with everything that a step can wait for, and an account of what it holds."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from google.protobuf import json_format

from stepwired.errors import Failure, Reason, Unavailable
from stepwired.events import Batch, ChatRequest, Embeddings, EmbedRequest, Json
from stepwired.limits import Limits
from stepwired.rpc.convert.chat import chat_request_of_json
from stepwired.rpc.convert.runs import as_json
from stepwired.sandbox.pool import Sandbox
from stepwired.steps.functions import FunctionRun
from stepwired.steps.leaves import Models
from stepwired.steps.named import NamedStep
from stepwired.steps.pipelines import Listed, Pipelines
from stepwired.steps.registry import Registry
from stepwired.steps.sources import SavedPipeline
from stepwired.steps.spec import Map, Named, Spec
from stepwired.steps.workers import Workers
from stepwired.store.codec.values import json_of_value
from tests.conftest import _descriptors, _tasks
from tests.rpc.serving import Client, count, echo, serve, until, within
from tests.rpc.talking import Other, V, is_taken

LIMITS = Limits(function_s=0.1, step_threads=4)
HANGING = "hang"


class Counted:
    """The real sandbox, and how many runs hold something of it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.open: set[object] = set()

    async def faults(self, sources: Sequence[str]) -> Sequence[str | None]:
        return await self.sandbox.faults(sources)

    def run(self) -> FunctionRun:
        return _CountedRun(self)


class _CountedRun:
    def __init__(self, counted: Counted) -> None:
        self._counted = counted
        self._run = counted.sandbox.run()
        counted.open.add(self)

    async def call(self, source: str, calls: Sequence[Sequence[Json]]) -> Sequence[Json | Failure]:
        return await self._run.call(source, calls)

    async def aclose(self) -> None:
        await self._run.aclose()
        self._counted.open.discard(self)


@dataclass
class Waits:
    """All that a step can wait for, for as long as the test wants."""

    working: int = 0
    """How much of it is waited for just now."""

    failed: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    async def forever(self) -> None:
        self.working += 1
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # cleaning up takes a turn of the loop, as closing a socket does
            self.working -= 1

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        if request.messages[-1].text == HANGING:
            await self.forever()
        async for batch in echo(request):
            yield batch

    async def embed(self, request: EmbedRequest) -> Embeddings:
        if HANGING in request.texts:
            await self.forever()
        return await count(request)

    async def step(self, _: Json) -> Json:
        await self.forever()
        return None

    async def stream(self, _: Json) -> AsyncIterator[Json]:
        yield 1
        await self.forever()

    def thread(self, _: Json) -> Json:
        self.working += 1
        self.released.wait()
        self.working -= 1
        return None

    def generator(self, _: Json) -> Iterator[Json]:
        yield 1
        yield self.thread(None)

    def again(self, value: Json) -> Json:
        return value

    async def busy(self, _: Json) -> Json:
        self.failed += 1
        raise Unavailable(Reason.PROVIDER_UNREACHABLE, "try again", retry_after_s=600)

    def named(self) -> dict[str, dict[str, NamedStep]]:
        functions = [self.step, self.stream, self.thread, self.generator, self.again, self.busy]
        return {each.__name__: {"1": NamedStep(each.__name__, each)} for each in functions}


def tasks() -> Counter[str]:
    """How many there are of each kind; the server waits for its next call in one new for each."""
    return Counter(getattr(task.get_coro(), "__qualname__", "") for task in _tasks())


class Everything:
    """A server with all of this, one worker, and what they hold."""

    def __init__(self, client: Client, waits: Waits, functions: Counted, workers: Workers) -> None:
        self.client = client
        self.waits = waits
        self.functions = functions
        self._workers = workers
        self.worker = Other(client.steps.ServeSteps(), V.ServeStepsRequest)

    async def ready(self) -> None:
        await self.worker.send(register=V.WorkerRegistration(steps=[V.WorkerStep(name="work")], max_in_flight=1))
        assert (await self.worker.receive()).HasField("accepted")
        await self.works()
        await until(lambda: not self.held["threads"] and self.held["handlers"] == 2)  # the worker's, and what it says
        self._before = Counter(self.held)
        self._tasks, self._open = tasks(), len(_descriptors())

    @property
    def held(self) -> dict[str, int]:
        calls = self.client.server
        [service] = self._workers._services.values()
        return {
            "places": calls.places._taken,
            "calls": len(calls.places._live),
            "handlers": len(calls.places._tasks),
            "runs with functions": len(self.functions.open),
            "questions to functions": len(self.functions.sandbox._jobs),
            "calls of the worker": sum(worker.line.open_count for worker in service.workers),
            "calls that wait for the worker": self._workers._waiting_count + len(service.waiting),
            "threads": sum(thread.name.startswith("step ") for thread in threading.enumerate()),
            "waits": self.waits.working,
        }

    async def nothing_is_left(self) -> None:
        self.waits.released.set()
        try:
            await until(lambda: not (Counter(self.held) - self._before) and not tasks() - self._tasks)
            await until(lambda: len(_descriptors()) <= self._open)
        except TimeoutError:
            raise AssertionError(f"{self.held} {tasks() - self._tasks}, before {self._before}") from None
        self.waits.released.clear()

    async def works(self) -> None:
        """A run that needs all of it is answered."""
        steps = [
            {"javascript": "(x) => x + 1"},
            {"named": "work"},
            {"named": "again"},
            {"render": {"template": "{{.}}"}},
            {"chat": {}},
        ]
        request = json_format.ParseDict({"steps": steps, "input": 1, "run_id": "works"}, V.CollectStepRequest())
        run = asyncio.ensure_future(self.client.steps.CollectStep(request))
        while (call := await self.worker.asked()).run_id != "works":
            pass  # it was sent before its run was cancelled
        await self.worker.done(call.call_id, json_of_value(call.input))
        [result] = (await within(run)).results
        assert result.message.text == "2"


@asynccontextmanager
async def serving(sandbox: Sandbox) -> AsyncIterator[Everything]:
    waits, functions = Waits(), Counted(sandbox)
    workers, pipelines = Workers(LIMITS, is_taken), Pipelines(LIMITS)
    inside = Spec(Map(Spec(Named("step"), "steps[0].map.step")), "steps[0]")
    pipelines.put([Listed.of(SavedPipeline("saved", "1", (inside,)), "", 1)])
    models = Models(waits.chat, waits.embed, lambda value: chat_request_of_json(value, LIMITS), as_json)
    registry = Registry(models, waits.named(), LIMITS, functions=functions, others=[workers, pipelines])
    async with serve(steps=registry, workers=workers, limits=LIMITS) as client:
        everything = Everything(client, waits, functions, workers)
        try:
            await everything.ready()
            yield everything
        finally:
            everything.worker.call.cancel()
            await within(everything.worker.call.code())
