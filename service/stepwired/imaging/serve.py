"""The child's loop: read a file, decode it, answer, and never use more memory than it was given."""

from __future__ import annotations

import resource
import socket
from contextlib import suppress

from stepwired.imaging import wire
from stepwired.processes import frames
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
        while (data := frames.read(files)) is not None:
            frames.write(connection, wire.encode(decode.decode(data)))
            del data
