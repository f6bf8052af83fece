"""The blocking client: the asyncio client's calls, waited for by a thread of its own."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Self, TypeVar, Unpack

from stepwire import errors
from stepwire._aio import DEFAULT_TARGET, AsyncClient
from stepwire._callbacks import Delivery, Worker
from stepwire._faces import iterates, waits
from stepwire._pipelines import Pipelines
from stepwire._portal import Portal
from stepwire._talking import Talk, TalkArguments

T = TypeVar("T")


class Client:
    """Talks to one Stepwire server, for programs without asyncio. Share one client between all threads.

        with Client("localhost:50051") as client:
            print(client.chat("Say hello."))
            for event in client.stream_chat("Tell me a story."):
                print(event.text, end="", flush=True)

    Ctrl-C in a call cancels the call, and so does leaving a stream early. The methods are those of `AsyncClient`.

    Args:
        target: Address of the server, `host:port`. Nothing is connected before the first call.
        timeout_s: Seconds that a quick call may take, such as a lookup.
        long_timeout_s: Seconds that a call may take that sends a file, or in which a model works: `chat`, `embed`,
            `search`, `collect`.
        idle_s: Seconds that a stream may be silent. Streams have no other limit unless a call names one.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout_s: float = 60.0,
        long_timeout_s: float = 600.0,
        idle_s: float = 600.0,
    ) -> None:
        self._aio = AsyncClient(target, timeout_s=timeout_s, long_timeout_s=long_timeout_s, idle_s=idle_s)
        self._portal = Portal()
        self._worker = Worker()
        # Also runs when the client is dropped, or at the end of the program.
        self._finish = weakref.finalize(self, _close, self._aio, self._portal, self._worker)

    chat = waits(AsyncClient.chat)
    stream_chat = iterates(AsyncClient.stream_chat)
    count_tokens = waits(AsyncClient.count_tokens)
    models = waits(AsyncClient.models)
    model = waits(AsyncClient.model)

    embed = waits(AsyncClient.embed)
    stream_embeddings = iterates(AsyncClient.stream_embeddings)
    search = waits(AsyncClient.search)
    embedding_models = waits(AsyncClient.embedding_models)
    embedding_model = waits(AsyncClient.embedding_model)

    create_conversation = waits(AsyncClient.create_conversation)
    conversation = waits(AsyncClient.conversation)
    list_conversations = iterates(AsyncClient.list_conversations)
    update_conversation = waits(AsyncClient.update_conversation)
    delete_conversation = waits(AsyncClient.delete_conversation)
    fork_conversation = waits(AsyncClient.fork_conversation)
    watch_conversation = iterates(AsyncClient.watch_conversation)

    append = waits(AsyncClient.append)
    messages = iterates(AsyncClient.messages)
    get_message = waits(AsyncClient.get_message)
    update_message = waits(AsyncClient.update_message)
    render = waits(AsyncClient.render)
    search_messages = iterates(AsyncClient.search_messages)

    upload_image = waits(AsyncClient.upload_image)
    download_image = waits(AsyncClient.download_image)
    export_conversation = waits(AsyncClient.export_conversation)
    import_conversation = waits(AsyncClient.import_conversation)

    run = iterates(AsyncClient.run)
    run_events = iterates(AsyncClient.run_events)
    collect = waits(AsyncClient.collect)
    list_steps = waits(AsyncClient.list_steps)
    validate = waits(AsyncClient.validate)

    @property
    def pipelines(self) -> Pipelines:
        """The pipelines that the server keeps: `save`, `get`, `list` and `delete`."""
        return Pipelines(self._aio.pipelines, self)  # a new one, because to keep it would keep the client alive

    def converse(self, **arguments: Unpack[TalkArguments]) -> Talk:
        """Begin a talk: turn by turn on one call, and you answer the model's tool calls.

            with client.converse(system="Be brief.") as talk:
                talk.send("Say hello.")
                for event in talk.receive():
                    print(event.text, end="")

        The arguments are those of `AsyncClient.converse`.

        Raises:
            errors.InvalidRequest: No request can be made of this.
            TypeError: A function takes what JSON cannot say.
        """
        return Talk(self, self._aio.converse(**arguments))

    def start_with_callbacks(
        self,
        call: Callable[[AsyncClient], AsyncGenerator[T, None] | Awaitable[T]],
        on_result: Callable[[T], object],
        *,
        on_error: Callable[[errors.Error], object] | None = None,
        on_done: Callable[[], object] | None = None,
        on_cancel: Callable[[], object] | None = None,
    ) -> Callable[[], None]:
        """Start a call and return at once; its outcome is told to functions.

            cancel = client.start_with_callbacks(
                lambda api: api.stream_chat("Tell me a story."),
                on_result=lambda event: print(event.text, end=""),
                on_done=lambda: print("."),
            )

        All callbacks of a client are called in one thread, one at a time, and may make blocking calls. The next
        result is read when the callback of the one before has returned.

        Args:
            call: Makes the call, given the asyncio client.
            on_result: Gets each result, or the one result of a call that is no stream.
            on_error: Gets the error of an item, after which the stream goes on, or of the call.
            on_done: Called once, last, however the call ended.
            on_cancel: Called once, just before `on_done`, if the call was cancelled.

        Returns:
            A function that cancels the call, from any thread, any number of times. A callback that is running goes on;
            no further `on_result` or `on_error` begins.

        Raises:
            TypeError: A callback is a coroutine function, which nobody would await.
        """
        delivery = Delivery(self._worker, on_result, on_error, on_done, on_cancel)
        reading = self._portal.start(lambda: delivery.read(lambda: call(self._aio)), delivery.end)

        def cancel() -> None:
            delivery.cancel()
            reading.cancel()

        return cancel

    def _wait(self, make: Callable[[], Awaitable[T]]) -> T:
        return self._portal.run(make)

    def _iterate(self, stream: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        return self._portal.iterate(stream)

    def close(self) -> None:
        """End all calls, which fail with `errors.Cancelled`, and the connection. May be called again."""
        self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close(aio: AsyncClient, portal: Portal, worker: Worker) -> None:
    portal.close(aio.close)
    worker.close()
