"""A driver that does something wrong, to see that the runner notices: `liar.py WHAT ADDRESS`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from clients.conformance import python_driver

LIES: Mapping[str, Mapping[str, Any]] = {
    "loses": {"messages": []},
    "recodes": {"code": "UNKNOWN"},
    "mistells": {"typed": {"text": "Goodbye"}},
    "mumbles": {"messages": ["/w=="]},
    "forgets": {"trailers": {}},
    "untyped": {"typed": {}},
    "claims": {"cancelled_ms": 1.0},
    "backdates": {"ended_ms": 0},
    "unnumbered": {"ended_ms": "now"},
    "drops": {"messages": ["CgoKAW1CBUhlbGxv"]},
}


def main() -> None:
    lie, address = sys.argv[1:]
    if lie == "dies":
        sys.exit("I cannot work like this")
    if lie == "chatters":
        print("ready")
    say = python_driver._say
    python_driver._say = lambda answer: say({**answer, **LIES.get(lie, {})})
    asyncio.run(python_driver.main(address))


if __name__ == "__main__":
    main()
