"""The child process that decodes: `python -m stepwired.imaging --socket 7`."""

from __future__ import annotations

import argparse
import socket

from stepwired.imaging import serve
from stepwired.processes.parent import Parent


def main() -> None:
    """Decode what comes through the socket, until the parent ends."""
    parent = Parent()
    parser = argparse.ArgumentParser(prog="python -m stepwired.imaging", description=__doc__)
    parser.add_argument("--socket", type=int, required=True, help="descriptor of an open socket")
    with socket.socket(fileno=parser.parse_args().socket) as connection:
        serve.serve(parent, connection)


if __name__ == "__main__":
    main()
