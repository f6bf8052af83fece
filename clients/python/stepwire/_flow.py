"""A step that `stepwire.steps` has made, and the ways to run it with a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, overload

from google.protobuf.message import Message

from stepwire import errors
from stepwire._callbacks import Delivery, run_callback
from stepwire._functions import PLAIN, Functions, Manner
from stepwire.results import RunResults, StepResult
from stepwire.v1 import step_run_pb2

if TYPE_CHECKING:
    from stepwire._aio import AsyncClient
    from stepwire._blocking import Client

Make = Callable[[Functions, Manner], step_run_pb2.Step]
OnResult = Callable[[StepResult], object]
OnError = Callable[[errors.Error], object]
OnEnd = Callable[[], object]


class Flow:
    """A step, with the functions of this program that it calls. It may stand wherever a step may, any number of times.

    Args:
        make: Makes the step of the wire; it is told where functions are named, and how one is called that is the whole
            of it.
    """

    def __init__(self, make: Make) -> None:
        self.make = make

    @property
    def proto(self) -> step_run_pb2.Step:
        """The step as the wire has it; functions of this program are `client` steps in it."""
        return self.make(Functions(), PLAIN)

    def options(
        self,
        *,
        name: str | None = None,
        labels: dict[str, str] | None = None,
        max_concurrency: int | None = None,
        buffer: int | None = None,
        as_completed: bool | None = None,
    ) -> Flow:
        """Make the same step with other options; None leaves what it has.

        Args:
            name: What it is called in metadata and events.
            labels: Facts to be kept in its metadata.
            max_concurrency: How many of its inputs are worked on at once, 1 to 256.
            buffer: How many results may wait for the step after it, 1 to 1,024.
            as_completed: Give results as they come, not in the order of the inputs.
        """

        def make(functions: Functions, manner: Manner) -> step_run_pb2.Step:
            made = self.make(functions, manner)
            more = step_run_pb2.Step(name=name, labels=labels, max_concurrency=max_concurrency, buffer=buffer)
            if as_completed is not None:
                made.as_completed = as_completed
            made.MergeFrom(more)
            return made

        return Flow(make)

    @overload
    def on(self, client: AsyncClient) -> AsyncFlow: ...

    @overload
    def on(self, client: Client) -> BlockingFlow: ...

    def on(self, client: AsyncClient | Client) -> AsyncFlow | BlockingFlow:
        """Make the same step with a client that runs it.

        double = steps.map(lambda x: x * 2).on(client)
        print(double.start_blocking([1, 2, 3]))  # [2, 4, 6]
        """
        from stepwire._aio import AsyncClient  # which needs this module for its annotations

        return AsyncFlow(self.make, client) if isinstance(client, AsyncClient) else BlockingFlow(self.make, client)

    def __repr__(self) -> str:
        proto = self.proto
        kind = proto.WhichOneof("kind") or "empty"
        said = getattr(proto, kind, "")
        return f"<step {kind}{'' if isinstance(said, Message) else f' {said!r}'}>"


class AsyncFlow(Flow):
    """A step that an `AsyncClient` runs."""

    def __init__(self, make: Make, client: AsyncClient) -> None:
        super().__init__(make)
        self._client = client

    async def start_async(self, input: Any = None) -> RunResults:  # noqa: A002
        """Run it and return all values, with `metadata`. See `AsyncClient.collect`."""
        return await self._client.collect(self, input)

    def stream(self, input: Any = None) -> AsyncGenerator[StepResult, None]:  # noqa: A002
        """Run it and yield each result as it comes. See `AsyncClient.run`."""
        return self._client.run(self, input)

    def start_with_callbacks(
        self,
        input: Any,  # noqa: A002
        on_result: OnResult,
        *,
        on_error: OnError | None = None,
        on_done: OnEnd | None = None,
        on_cancel: OnEnd | None = None,
    ) -> Callable[[], None]:
        """Begin to run it and return at once. As `Client.start_with_callbacks`, but called in the running loop.

        Returns:
            A function that cancels the run, from any thread, any number of times.
        """
        loop = asyncio.get_running_loop()
        delivery = Delivery(_InTurn(), on_result, on_error, on_done, on_cancel)
        reading = loop.create_task(delivery.read(lambda: self._client.run(self, input)))

        def end(task: asyncio.Task[None]) -> None:
            delivery.end(errors.Cancelled("the run was cancelled") if task.cancelled() else task.exception())

        def cancel() -> None:
            delivery.cancel()
            if not loop.is_closed():
                loop.call_soon_threadsafe(reading.cancel)

        reading.add_done_callback(end)
        return cancel


class _InTurn:
    """Runs callbacks where it is asked to: in the loop, where nothing overlaps."""

    def submit(self, callback: Callable[[], object]) -> Future[bool]:
        return run_callback(callback, Future())


class BlockingFlow(Flow):
    """A step that a `Client` runs."""

    def __init__(self, make: Make, client: Client) -> None:
        super().__init__(make)
        self._client = client

    def start_blocking(self, input: Any = None) -> RunResults:  # noqa: A002
        """Run it, wait, and return all values, with `metadata`. See `Client.collect`."""
        return self._client.collect(self, input)

    async def start_async(self, input: Any = None) -> RunResults:  # noqa: A002
        """Run it and return all values, awaited in any loop. Cancelling the task cancels the run."""
        return await self._client._portal.awaited(lambda: self._client._aio.collect(self, input))

    def stream(self, input: Any = None) -> Generator[StepResult, None, None]:  # noqa: A002
        """Run it and yield each result as it comes. See `Client.run`."""
        return self._client.run(self, input)

    def start_with_callbacks(
        self,
        input: Any,  # noqa: A002
        on_result: OnResult,
        *,
        on_error: OnError | None = None,
        on_done: OnEnd | None = None,
        on_cancel: OnEnd | None = None,
    ) -> Callable[[], None]:
        """Begin to run it and return at once; its outcome is told to functions. See `Client.start_with_callbacks`."""
        return self._client.start_with_callbacks(
            lambda api: api.run(self, input), on_result, on_error=on_error, on_done=on_done, on_cancel=on_cancel
        )
