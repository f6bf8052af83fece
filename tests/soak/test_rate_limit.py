"""Many stock clients at once, and a provider that takes few requests a second: whom an error reaches, who comes early.

`STEPWIRE_CLIENTS=100 python -m pytest -s tests/soak/test_rate_limit.py` is the whole of it, in half a minute.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
import pytest

from stepwire.v1 import chat_pb2, chat_pb2_grpc
from tests.fakeprov import Exchange, Provider, behaviours
from tests.program import HANG_S, Program, running

CLIENTS = int(os.environ.get("STEPWIRE_CLIENTS", "10"))
RATE = 10 if CLIENTS >= 100 else 4
"""Requests that the provider takes in a second, and at once."""

SLACK_S = 0.005
"""What clocks of two processes and timers of milliseconds may differ."""

#: What a client writes that has never heard of us.
POLICY = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
                },
            }
        ]
    }
)
SETTINGS = """
[local]
enabled = false
[endpoints.few]
base_url = "{}"
[models.few]
endpoint = "few"
"""


@dataclass
class Bucket:
    """Takes so many requests a second, and tells all others to come back in a second."""

    room: float = RATE
    since: float = field(default_factory=time.monotonic)
    told: dict[str, float] = field(default_factory=dict)
    """By prompt, from when on it may come back."""

    early: list[float] = field(default_factory=list)
    """By how many seconds, of each who came too early."""

    refused: int = 0

    async def behave(self, exchange: Exchange) -> None:
        now = exchange.request.at
        prompt = exchange.request.json()["messages"][-1]["content"]
        if (ahead_s := self.told.get(prompt, now) - now) > SLACK_S:
            self.early.append(ahead_s)
        self.room = min(RATE, self.room + (now - self.since) * RATE)
        self.since = now
        if self.room >= 1:
            self.room -= 1
            await behaviours.reply()(exchange)
            return
        self.refused += 1
        self.told[prompt] = time.monotonic() + 1.0
        error = {"error": {"code": "rate_limit_exceeded", "message": "slow down"}}
        await behaviours.status(429, {"retry-after": "1"}, error)(exchange)


async def ask(program: Program, number: int) -> str:
    """One client with a connection of its own: its text, or the code of its failure."""
    async with program.channel([("grpc.service_config", POLICY), ("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = chat_pb2_grpc.ChatServiceStub(channel)
        prompt = f"client {number}"
        try:
            if number % 2:
                return (await stub.Chat(chat_pb2.ChatRequest(prompt=prompt), timeout=HANG_S)).text
            call = stub.StreamChat(chat_pb2.StreamChatRequest(prompt=prompt), timeout=HANG_S)
            return "".join([event.text_delta.text async for event in call])
        except grpc.aio.AioRpcError as error:
            return error.code().name


@pytest.mark.timeout(2 * HANG_S)
async def test_no_error_reaches_clients_that_are_told_when_to_come_back_and_none_comes_early(tmp_path: Path) -> None:
    bucket = Bucket()
    async with Provider(bucket.behave) as provider, running(tmp_path, SETTINGS.format(provider.base_url)) as program:
        began = time.monotonic()
        said = await asyncio.gather(*(ask(program, number) for number in range(CLIENTS)))
        took_s = time.monotonic() - began
    errors = [each for each in said if each != "Hello"]
    print(
        f"\n{CLIENTS} clients, {RATE} requests/s: {len(errors)} errors, {len(bucket.early)} early retries,"
        f" {took_s:.1f} s, {len(provider.requests)} requests to the provider, {bucket.refused} refused"
    )
    assert (errors, bucket.early) == ([], [])
    assert bucket.refused > 0
