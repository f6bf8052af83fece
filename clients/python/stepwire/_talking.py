"""A talk with a model, for programs without asyncio."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar

from stepwire._asking import FormatLike
from stepwire._converse import AsyncTalk
from stepwire._faces import iterates, waits
from stepwire._requests import OptionsLike
from stepwire._tools import ToolLike

if TYPE_CHECKING:
    from stepwire._blocking import Client

T = TypeVar("T")


class TalkArguments(TypedDict, total=False):
    """What may be said of a talk; see `AsyncClient.converse`."""

    model: str
    system: str
    conversation_id: str
    parent_id: str
    if_revision: int | None
    options: OptionsLike | None
    tools: Iterable[ToolLike]
    response_format: FormatLike | None
    provider_key: str
    timeout_s: float | None


class Talk:
    """A talk with a model. Made by `Client.converse`; use it in a `with`, which ends it. Methods as of `AsyncTalk`."""

    def __init__(self, client: Client, talk: AsyncTalk) -> None:
        self._client = client
        self._aio = talk

    @property
    def turn(self) -> int:
        """Which turn it is, from 1; 0 before the first."""
        return self._aio.turn

    send = waits(AsyncTalk.send)
    answer = waits(AsyncTalk.answer)
    receive = iterates(AsyncTalk.receive)
    finish = waits(AsyncTalk.finish)
    close = waits(AsyncTalk.close)

    def _wait(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return self._client._wait(make)

    def _iterate(self, stream: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        return self._client._iterate(stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
