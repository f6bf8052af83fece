"""The command `stepwire`."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command, or say what it needs: programs that only call the SDK need not install it."""
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing:
        print(f"stepwire: the command needs {' and '.join(missing)}: pip install 'stepwire[cli]'", file=sys.stderr)
        sys.exit(1)
    try:
        from stepwire.cli.app import cli
    except KeyboardInterrupt:  # what follows sees to it by itself
        print("\ncancelled", file=sys.stderr)
        sys.exit(130)
    cli(prog_name="stepwire")
