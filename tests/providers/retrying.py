"""Models that do what a script says, and time that passes when somebody waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from time import monotonic

from stepwired.errors import Failure, Reason, Throttled, Unavailable
from stepwired.events import (
    Attempt,
    Batch,
    ChatOptions,
    ChatRequest,
    Deadline,
    Event,
    Finished,
    FinishReason,
    Message,
    Role,
    Started,
    TextDelta,
    Usage,
    UsageSource,
    deadline,
)
from stepwired.providers.base import Endpoint, ModelEntry, static
from stepwired.providers.retrying.budget import RetryBudget
from stepwired.providers.retrying.retry import Retry, Route

REQUEST = ChatRequest("m", messages=(Message(text="hi"),))
RESTARTING = replace(REQUEST, options=ChatOptions(restart=True))
USAGE = Usage(UsageSource.PROVIDER, 100, 10)

#: What one attempt does: passes on batches, then fails or ends.
Script = list[Batch | Failure]


@dataclass
class Time:
    """A clock that only waiting moves, and dice that always fall alike."""

    now_s: float = 100.0
    dice: float = 0.5
    waits: list[float] = field(default_factory=list)

    async def sleep(self, wait_s: float) -> None:
        self.waits.append(wait_s)
        self.now_s += wait_s
        await asyncio.sleep(0)

    def retry(self) -> Retry:
        return Retry(sleep=self.sleep, now=lambda: self.now_s, dice=lambda: self.dice)


class Model:
    """A model that is asked as often as its script is long; the last attempt is repeated."""

    def __init__(self, name: str, *scripts: Script, time: Time | None = None, takes_s: float = 0.0) -> None:
        self.name = name
        self.scripts = scripts
        self.asked = 0
        self.closed = 0
        self.time = time
        self.takes_s = takes_s

    async def chat(self, _: ChatRequest) -> AsyncGenerator[Batch, None]:
        script = self.scripts[min(self.asked, len(self.scripts) - 1)]
        self.asked += 1
        if self.time is not None:
            self.time.now_s += self.takes_s
        try:
            for step in script:
                await asyncio.sleep(0)
                if isinstance(step, Failure):
                    raise step
                yield step
        finally:
            self.closed += 1

    def route(self, budget: RetryBudget | None = None, **entry: object) -> Route:
        model = replace(ModelEntry(self.name, "chat", f"at-{self.name}", f"their-{self.name}"), **entry)  # type: ignore[arg-type]
        endpoint = Endpoint(f"at-{self.name}", static("http://127.0.0.1:9"))
        return Route(model, endpoint, budget or RetryBudget(), self.chat)


def started(name: str) -> Started:
    return Started(f"their-{name}", f"at-{name}")


def good(name: str, *texts: str) -> Script:
    """A whole reply, event by event."""
    reply = (Message(Role.ASSISTANT, "".join(texts)),)
    last = Finished(FinishReason.STOP, f"their-{name}", f"at-{name}", USAGE, reply)
    return [[started(name)], *([TextDelta(text)] for text in texts), [last]]


def busy() -> Failure:
    return Unavailable(Reason.PROVIDER_OVERLOADED, "too much to do")


def limited(wait_s: float | None = None) -> Failure:
    return Throttled(Reason.PROVIDER_RATE_LIMITED, "the rate limit was reached", retry_after_s=wait_s)


def failing(reason: Reason) -> Failure:
    return Unavailable(reason, "something went wrong")


@dataclass
class Seen:
    """What the reader of one reply got."""

    events: list[Event] = field(default_factory=list)
    failure: Failure | None = None

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def attempts(self) -> list[tuple[str, str]]:
        last = self.events[-1]
        assert isinstance(last, Finished)
        return [(attempt.provider, attempt.reason) for attempt in last.attempts]

    @property
    def tried(self) -> tuple[Attempt, ...]:
        last = self.events[-1]
        assert isinstance(last, Finished)
        return last.attempts


async def read(batches: AsyncGenerator[Batch, None]) -> Seen:
    seen = Seen()
    try:
        async with aclosing(batches) as reading:
            async for batch in reading:
                seen.events += batch
    except Failure as failure:
        seen.failure = failure
    return seen


async def ask(time: Time, routes: Iterable[Route], request: ChatRequest = REQUEST) -> Seen:
    return await read(time.retry().chat(list(routes), request))


@contextmanager
def time_left(left_s: float) -> Generator[None]:
    """Give what is done within it so much time."""
    token = deadline.set(Deadline(monotonic() + left_s))
    try:
        yield
    finally:
        deadline.reset(token)
