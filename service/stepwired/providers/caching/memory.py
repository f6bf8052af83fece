"""Keeps answers for a while: the least recently used go first, and the old."""

from __future__ import annotations

import hashlib
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Generic, Protocol, TypeVar

import msgspec

V = TypeVar("V")

_ENTRY_BYTES = 256
"""What one entry takes beside its value: the key, and its places in the tables."""


class Memory(Generic[V]):
    """Values by key, in the memory of this process, of at most so many bytes together.

    Args:
        most_bytes: Of all values; a larger one is not kept.
        ttl_s: How long a value is good; None: until it has to go.
        now: Seconds, on any clock.
    """

    def __init__(
        self, most_bytes: int, ttl_s: float | None = None, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_bytes = most_bytes
        self._ttl_s = ttl_s
        self._now = now
        self._entries: OrderedDict[bytes, tuple[V, int, float]] = OrderedDict()
        self.size_bytes = 0

    def get(self, key: bytes) -> V | None:
        """The value, which has been used by that; None if there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, size, at = entry
        if self._ttl_s is not None and self._now() - at >= self._ttl_s:
            del self._entries[key]
            self.size_bytes -= size
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: bytes, value: V, size_bytes: int) -> None:
        """Keep a value, and let others go until all fit."""
        if (old := self._entries.pop(key, None)) is not None:
            self.size_bytes -= old[1]
        size = size_bytes + _ENTRY_BYTES
        if size > self._most_bytes:
            return
        self._entries[key] = value, size, self._now()
        self.size_bytes += size
        while self.size_bytes > self._most_bytes:
            _, (_, gone, _) = self._entries.popitem(last=False)
            self.size_bytes -= gone

    def __len__(self) -> int:
        return len(self._entries)


class Keeper(Protocol):
    """Where bytes are kept by key. It may lose any of them at any time, and never fails."""

    async def get(self, keys: Iterable[bytes]) -> Mapping[bytes, bytes]:
        """Those that are there."""

    async def put(self, values: Mapping[bytes, bytes]) -> None:
        """Keep them, or let others go."""


class InMemory:
    """A `Keeper` that forgets with the process."""

    def __init__(self, most_bytes: int) -> None:
        self._memory: Memory[bytes] = Memory(most_bytes)

    async def get(self, keys: Iterable[bytes]) -> Mapping[bytes, bytes]:
        return {key: value for key in keys if (value := self._memory.get(key)) is not None}

    async def put(self, values: Mapping[bytes, bytes]) -> None:
        for key, value in values.items():
            self._memory.put(key, value, len(value))


def digest(*parts: bytes) -> bytes:
    """A key for what these parts are together: with their lengths, so that `ab`, `c` is another than `a`, `bc`."""
    return digest_of(parts)


def digest_of(parts: Iterable[bytes]) -> bytes:
    """As `digest`, of parts that are made one by one and need not all be in memory."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(len(part).to_bytes(8, "big"))
        sha.update(part)
    return sha.digest()


def memory_bytes(value: object) -> int:
    """What a value and all that it holds take in memory, but for what every process has only once.

    Cost: about 0.5 us for each object.
    """
    size = sys.getsizeof(value)
    if value is None or isinstance(value, str | bytes | int | float | Enum):
        return size
    if isinstance(value, Mapping):
        return size + sum(memory_bytes(name) + memory_bytes(item) for name, item in value.items())
    if isinstance(value, Iterable):
        return size + sum(map(memory_bytes, value))
    names = value.__struct_fields__ if isinstance(value, msgspec.Struct) else getattr(value, "__slots__", ())
    return size + sum(memory_bytes(getattr(value, name)) for name in names)
