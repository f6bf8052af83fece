"""Bodies of every wrong kind, over a real socket: each is answered, and each refusal says what it has to.

2,000 of them; as many as `STEPWIRE_MALFORMED` says where it is set.
"""

from __future__ import annotations

import asyncio
import os
import random
import re

import pytest

from tests.rpc.serving import SOON_S
from tests.web.fronting import CHAT, Connection, serve
from tests.web.mangling import body

COUNT = int(os.environ.get("STEPWIRE_MALFORMED", "2000"))
SEED = 20
KINDS = ("application/json",) * 20 + ("application/json; charset=utf-8", "text/plain", "", "application/xml")

#: What would be left of an exception that was not foreseen.
TRACE = re.compile(rb"Traceback|File \"|0x[0-9a-f]{6}|Error\b|exception", re.IGNORECASE)


async def ask(connection: Connection, rng: random.Random) -> int:
    path = rng.choice((CHAT, CHAT, CHAT, "/v1/embeddings"))
    raw = body(rng)
    await connection.ask("POST", path, raw, {"Content-Type": rng.choice(KINDS)})
    reply = await connection.reply()
    if reply.status == 200:
        assert reply.is_whole
        return 200
    assert reply.status in {400, 404, 413, 415}, (reply.status, raw[:300])
    error = reply.error
    assert error["code"] != "internal", raw[:300]
    assert not TRACE.search(str(error["message"]).encode()), (error, raw[:300])
    return reply.status


@pytest.mark.timeout(60 + COUNT / 50)
async def test_every_malformed_body_is_refused_with_all_that_a_refusal_has(caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(SEED)
    found: dict[int, int] = {}
    async with serve() as front:
        left = COUNT
        while left:
            async with front.connection() as connection:
                for _ in range(min(left, 200)):
                    async with asyncio.timeout(SOON_S):
                        status = await ask(connection, rng)
                    found[status] = found.get(status, 0) + 1
                    left -= 1
        assert not front.places._live
    assert sum(found.values()) == COUNT
    assert found[400] > COUNT / 2
    assert "Traceback" not in caplog.text
    assert "crashed" not in caplog.text
    print(found)  # shown with `-s`
