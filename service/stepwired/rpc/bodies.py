"""The room for bodies of requests that are being read: who sends large ones slowly must not fill the memory."""

from __future__ import annotations

from types import TracebackType

from stepwired.errors import Reason, Subject, Throttled
from stepwired.limits import KIB

#: What each request may send without asking: small ones are read however much the large ones take.
FREE_BYTES = 64 * KIB


class Bodies:
    """All bodies that are being read by one server, whichever front they come through.

    Args:
        limit_bytes: Most that they may have together, beyond what each has free.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.held_bytes = 0
        """Size of all of them just now."""

    def share(self) -> Share:
        """Count the body of one request, until that is left or dropped."""
        return Share(self)

    def take(self, size: int) -> None:
        """Count so many bytes more.

        Raises:
            Throttled: CONCURRENCY_LIMITED: there would be too many.
        """
        if size > 0 and self.held_bytes + size > self._limit_bytes:
            raise Throttled(
                Reason.CONCURRENCY_LIMITED,
                f"requests of {self._limit_bytes} bytes are being sent already; try again",
                metadata={"limit": str(self._limit_bytes)},
                retry_after_s=1.0,
                subject=Subject("server", "bodies"),
            )
        self.held_bytes += size

    def can_spare(self, size: int) -> bool:
        """Whether there is room for bytes that nobody needs yet: half of it is for those that are needed."""
        return self.held_bytes + size <= self._limit_bytes // 2


class Share:
    """What of the body of one request is held."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._size = 0
        self._counted = 0

    def add(self, size: int) -> None:
        """Count so many bytes more.

        Raises:
            Throttled: CONCURRENCY_LIMITED: there would be too many.
        """
        counted = max(self._size + size - FREE_BYTES, 0)
        self._bodies.take(counted - self._counted)
        self._size += size
        self._counted = counted

    def spares(self, size: int) -> bool:
        """Count so many bytes and no others, which nobody needs yet; False if there is no room for such, and nothing
        changes then.
        """
        counted = max(size - FREE_BYTES, 0)
        if counted > self._counted and not self._bodies.can_spare(counted - self._counted):
            return False
        self._bodies.take(counted - self._counted)
        self._size, self._counted = size, counted
        return True

    def drop(self) -> None:
        """Count nothing of it any more: it has been read."""
        self._bodies.take(-self._counted)
        self._size = self._counted = 0

    def __enter__(self) -> Share:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.drop()
