"""A worker's end of the socket to its parent: `processes.worker` is the other."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Generator
from contextlib import contextmanager

from stepwired.processes.parent import Parent


@contextmanager
def serving(module: str, description: str | None) -> Generator[tuple[Parent, socket.socket]]:
    """Be a worker: our parent, and the socket that its questions come through."""
    parent = Parent()
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--socket", type=int, required=True, help="descriptor of an open socket")
    with socket.socket(fileno=parser.parse_args().socket) as connection:
        yield parent, connection
