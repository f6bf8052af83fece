"""The child process that decodes: `python -m stepwired.imaging --socket 7`."""

from __future__ import annotations

from stepwired.imaging import serve
from stepwired.processes.serving import serving


def main() -> None:
    """Decode what comes through the socket, until the parent ends."""
    with serving("stepwired.imaging", __doc__) as (parent, connection):
        serve.serve(parent, connection)


if __name__ == "__main__":
    main()
