"""The child's loop: read a file, decode it, answer, and never use more memory than it was given."""

from __future__ import annotations

import resource
import socket
from contextlib import suppress

from stepwired.imaging import wire
from stepwired.processes.parent import Parent


def serve(parent: Parent, connection: socket.socket) -> None:
    """Decode each file that comes through `connection`, one after the other, until it closes."""
    budget = wire.read_budget(parent.said)
    from stepwired.imaging import decode

    decode.limit(budget.pixels_count)
    with suppress(ValueError, OSError):  # where the system knows no such limit, the one of pixels is left
        resource.setrlimit(resource.RLIMIT_AS, (budget.memory_bytes, budget.memory_bytes))
    parent.watch()
    with connection.makefile("rb") as files:
        parent.tell("ready")
        while length := files.read(wire.LENGTH_BYTES):
            data = files.read(int.from_bytes(length, "big"))
            connection.sendall(wire.encode(decode.decode(data)) + b"\n")
            del data
