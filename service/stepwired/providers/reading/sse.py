"""Splits a stream into server-sent events or lines, as bytes. No I/O, and no decoding: a cut character is harmless."""

from __future__ import annotations

from stepwired.errors import Failure
from stepwired.limits import MIB
from stepwired.providers import faults

_BOM = b"\xef\xbb\xbf"


class Named(bytes):
    """The data of an event that was given a name of its own by an `event:` line."""

    name: str


class Parser:
    """Feed it what was read, in order; it returns the data of the events that are complete.

    Lines may end with LF, CR or CRLF. A stream's end needs no call: what has no blank line behind it is
    no event. Cost: 0.2 us per event where lines end with LF and each event is one `data: ` line.

    Args:
        event_bytes: Largest event.
        provider: Whose stream it is, for failures.
    """

    __slots__ = ("_at_start", "_event_bytes", "_pending", "_provider", "_skip_lf")

    def __init__(self, event_bytes: int = MIB, provider: str = "the provider") -> None:
        self._event_bytes = event_bytes
        self._provider = provider
        self._pending = bytearray()  # without a blank line in it; a bytearray, as it may grow byte by byte
        self._at_start = True
        self._skip_lf = False  # the last line ended with CR: a LF that comes next belongs to it

    @property
    def pending_bytes(self) -> int:
        """What was fed and belongs to an event that is not complete."""
        return len(self._pending)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of each event that `chunk` completes, of type `Named` where it has a name.

        Raises:
            Failure: An event is larger than it may be, reason PROVIDER_RESPONSE_TOO_LARGE.
        """
        if self._at_start:
            chunk = self._after_bom(chunk)
        if self._skip_lf or b"\r" in chunk:
            chunk = self._with_lf(chunk)
        if pending := self._pending:
            if b"\n\n" not in pending[-1:] + chunk:
                pending += chunk
                if len(pending) > self._event_bytes + 1:  # a LF at its end may be half a blank line
                    raise self._too_large()
                return []
            chunk = bytes(pending + chunk)
            pending.clear()
        if not chunk.endswith(b"\n\n"):
            end = chunk.rfind(b"\n\n") + 2
            if end == 1:
                end = 0
            pending += chunk[end:]
            chunk = chunk[:end]
        if len(chunk) > self._event_bytes or len(pending) > self._event_bytes + 1:
            self._check_sizes(chunk)
        # The common case, without a step per line: every event is a blank line apart from the next and
        # has one line. A line's end cannot be part of JSON, so the separator is never part of the data.
        if chunk.startswith(b"data: "):
            if chunk.find(b"\n") == len(chunk) - 2:
                return [chunk[6:-2]]
            events = chunk[6:-2].split(b"\n\ndata: ")
            if chunk.count(b"\n") == 2 * len(events):
                return events
        return _events(chunk) if chunk else []

    def end(self) -> list[bytes]:
        """Return what the stream's end completes: nothing."""
        return []

    def _after_bom(self, chunk: bytes) -> bytes:
        """Take a byte order mark off the stream's start, which may come in pieces."""
        start = bytes(self._pending) + chunk
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._pending[:] = start
            return b""
        self._pending.clear()
        self._at_start = False
        return start.removeprefix(_BOM)

    def _with_lf(self, chunk: bytes) -> bytes:
        """Make each line's end a LF, also where a CRLF is cut in two."""
        if not chunk:
            return chunk
        if self._skip_lf:
            chunk = chunk.removeprefix(b"\n")
            self._skip_lf = False
        self._skip_lf = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _check_sizes(self, complete: bytes) -> None:
        largest = max(len(self._pending) - 1, *map(len, complete.split(b"\n\n")))
        if largest > self._event_bytes:
            raise self._too_large()

    def _too_large(self) -> Failure:
        return faults.too_large(self._provider, "an event", self._event_bytes)


def _events(block: bytes) -> list[bytes]:
    """Read whole events line by line, as the standard says."""
    events: list[bytes] = []
    name = b""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        if not line:
            if data:
                events.append(_event(name, data))
            name, data = b"", []
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return events


def _event(name: bytes, data: list[bytes]) -> bytes:
    joined = b"\n".join(data)
    if not name or name == b"message":
        return joined
    event = Named(joined)
    event.name = name.decode("utf-8", "replace")
    return event


class Lines:
    """Splits newline-delimited JSON: feed it what was read, in order; it returns the lines that are complete.

    Lines end with LF or CRLF; what is blank is no line. The last needs no end: call `end`.

    Args:
        line_bytes: Longest line.
        provider: Whose stream it is, for failures.
    """

    __slots__ = ("_line_bytes", "_pending", "_provider")

    def __init__(self, line_bytes: int = MIB, provider: str = "the provider") -> None:
        self._line_bytes = line_bytes
        self._provider = provider
        self._pending = bytearray()  # without a LF in it

    @property
    def pending_bytes(self) -> int:
        """What was fed and belongs to a line that is not complete."""
        return len(self._pending)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return each line that `chunk` completes.

        Raises:
            Failure: A line is longer than it may be, reason PROVIDER_RESPONSE_TOO_LARGE.
        """
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = bytes(self._pending + lines[0])
            self._pending.clear()
        self._pending += rest
        if max(len(self._pending), *map(len, lines), 0) > self._line_bytes:
            raise faults.too_large(self._provider, "a line", self._line_bytes)
        return [line for line in lines if line and not line.isspace()]

    def end(self) -> list[bytes]:
        """Return the last line, if there was no end to it."""
        last = bytes(self._pending)
        self._pending.clear()
        return [] if not last or last.isspace() else [last]
