"""The child process that runs JavaScript: `python -m stepwired.sandbox --socket 7`."""

from __future__ import annotations

from stepwired.processes.serving import serving
from stepwired.sandbox import serve


def main() -> None:
    """Call what comes through the socket, until the parent ends."""
    with serving("stepwired.sandbox", __doc__) as (parent, connection):
        serve.serve(parent, connection)


if __name__ == "__main__":
    main()
