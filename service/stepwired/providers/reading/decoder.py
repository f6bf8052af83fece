"""What the readers of all wire formats share: bytes in, events out, and what happens when a reply breaks off."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from stepwired.errors import Failure
from stepwired.events import ChatOptions, Event, Started
from stepwired.providers import faults
from stepwired.providers.base import Budget
from stepwired.providers.reading.assembly import Assembly
from stepwired.providers.reading.sse import Parser
from stepwired.providers.refusing.refusals import Asked


class Splitter(Protocol):
    """Cuts bytes into events or lines; see `sse.Parser` and `sse.Lines`."""

    @property
    def pending_bytes(self) -> int:
        """What was fed and belongs to no whole event."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return what `chunk` completes."""

    def end(self) -> list[bytes]:
        """Return what the body's end completes."""


class Decoder(ABC):
    """Feed it what was read, in order, until `is_done` or the body's end; then call `end`.

    Args:
        asked: Whom we asked for what, for events and failures.
        budget: Bytes of one event, and of a reply.
        options: What was asked for.
        first_id: See `Assembly`.
        parser: How the bytes are cut; server-sent events by default.
    """

    def __init__(
        self,
        asked: Asked,
        budget: Budget | None = None,
        options: ChatOptions | None = None,
        first_id: int = 0,
        parser: Splitter | None = None,
    ) -> None:
        self.is_done = False
        """Whether nothing more is to be read: the reply is whole, or has failed."""
        self._asked = asked
        self._budget = budget or Budget()
        self._reply = Assembly(asked, self._budget, options, first_id)
        self._parser = parser or Parser(self._budget.event_bytes, asked.provider)
        self._unchecked_bytes = 0
        self._room_bytes = 0
        self._is_finished = False
        self._failure: Failure | None = None

    @property
    def has_reason(self) -> bool:
        """Whether the model said why it stopped. No text comes after it, so a cut does no harm."""
        return self._reply.has_reason

    @property
    def is_light(self) -> bool:
        """Whether `end` costs next to nothing. If not, call it in a thread."""
        return self._reply.is_light

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that `chunk` completes, in order; often one, possibly none.

        Raises:
            Failure: The stream is broken, says that the provider failed, or makes the reply too large. If `chunk` also
                completed pieces of the reply, they are returned and `end` raises; those that are too much are not.
        """
        events: list[Event] = []
        self._unchecked_bytes += len(chunk)
        try:
            for data in self._parser.feed(chunk):
                if not self._read(data, events):
                    self.is_done = True
                    break
            if self._unchecked_bytes > self._room_bytes:
                self._check_size(events)
            if self.is_done and self._reply.is_light:
                self._finish(events)
        except Failure as failure:
            self._fail(failure, events)
        return events

    def feed_whole(self, body: bytes) -> list[Event]:
        """Read a whole reply that was not streamed, though it was asked to be. Call `end` then.

        Raises:
            Failure: As `feed`.
        """
        events: list[Event] = []
        try:
            self._read_whole(body, events)
            self._check_size(events)
            self.is_done = True
        except Failure as failure:
            self._fail(failure, events)
        return events

    def end(self) -> list[Event]:
        """Return the last events, if `feed` has not: where no terminal event came, or large JSON was to be checked.

        Raises:
            Failure: The stream had failed, or ended in the middle, reason PROVIDER_STREAM_TRUNCATED; or the whole does
                not match what was asked for.
        """
        if self._failure is not None:
            raise self._failure
        events: list[Event] = []
        if not self._is_finished:
            if not self.is_done:
                for data in self._parser.end():
                    self.is_done = not self._read(data, events)
                self._check_size(events)
            if not self.is_done and not self._reply.has_reason:
                raise faults.truncated(self._asked.provider)
            self._finish(events)
        return events

    @abstractmethod
    def _read(self, data: bytes, events: list[Event]) -> bool:
        """Add the events of one event or line. False if it is the last."""

    def _read_whole(self, body: bytes, events: list[Event]) -> None:
        """Add the events of a reply that was not streamed."""
        raise faults.nonsense(self._asked.provider, "answered with content of type application/json")

    def _finish(self, events: list[Event]) -> None:
        self.is_done = self._is_finished = True
        self._reply.finish(events)

    def _fail(self, failure: Failure, events: list[Event]) -> None:
        self.is_done = True
        self._failure = failure
        if not events or (len(events) == 1 and isinstance(events[0], Started)):
            raise failure

    def _check_size(self, events: list[Event]) -> None:
        """Look at the size, seldom.

        A byte that was fed makes three of text at most (U+FFFD), so what is left of the room says how much may be fed
        before the next look.
        """
        self._room_bytes = self._reply.check_size(events) // 3
        self._unchecked_bytes = self._parser.pending_bytes
