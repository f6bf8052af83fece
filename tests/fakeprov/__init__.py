"""A scripted provider on raw sockets, that can answer well, badly, slowly or not at all, and sees when it is left.

    async with Provider(behaviours.reply(["Hel", "lo"], gap_s=0.02)) as provider:
        ...  # ask provider.base_url
    request = provider.requests[0]  # what came: head, body, when
    connection = provider.connections[0]  # when it was opened and closed, what was sent on it

No HTTP library has a part in it, so it can break every rule of HTTP. A **behaviour** is a coroutine function
that is given an `Exchange`, one request and the socket it came on, and does to it what it likes: `send` bytes,
in `cuts` or at a rate, `chunk`s of a chunked body, wait for an event of the test or until the client hangs up
(`gone`), `reset` or `finish` the connection. When it returns, the connection is kept for the next request unless
it was closed. When the client hangs up while it sends or waits, it is cancelled.

`behaviours` has those that tests share, written as functions that make a behaviour: to add one, write another.
`in_turn(a, b)` gives the first request to `a` and all others to `b`. The list F01-F39 of what providers do wrong
is in the tests, with the outcome that each must have, not here.

Times are of `time.monotonic()`. Standing alone, for a benchmark: `python -m tests.fakeprov --help`.
"""

from tests.fakeprov import behaviours
from tests.fakeprov.provider import Behaviour, Connection, Exchange, Provider, Request

__all__ = ["Behaviour", "Connection", "Exchange", "Provider", "Request", "behaviours"]
