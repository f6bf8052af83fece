"""Whatever bytes arrive, the answer is a reply or a reason, and never an accident."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor as descriptors
from google.protobuf import message_factory
from google.protobuf.message import Message as Proto

from stepwire.v1 import chat_pb2, conversation_pb2, embed_pb2, pipeline_pb2, step_run_pb2
from stepwired.limits import Limits
from stepwired.store.sqlite import SqliteStore
from tests.rpc.serving import serve, told, within
from tests.rpc.test_step_runs import registry

CALLS = 3000
AT_ONCE = 50
_F = descriptors.FieldDescriptor
TEXTS = ["", "hi", "c1", "m1", "user", "tool", "banana", "upper", "é😀", "\0", " ", "a b", "x" * 129, "x" * 40_000]
WHOLE = [0, 1, -1, 2, 255, 256, 1000, 1024, 2**31 - 1, -(2**31)]
REAL = [0.0, -0.0, 1.0, 0.5, -2.5, 2.0**53, 1e308, float("inf"), float("-inf"), float("nan"), 1e-320]


class Maker:
    """Makes requests of any type, full of the values that break things."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def request(self, kind: Any, depth: int = 0) -> Proto:
        made = message_factory.GetMessageClass(kind)()
        for field in kind.fields:
            if self.random.random() < (0.5 if depth < 2 else 0.25 if depth < 8 else 0):
                self._set(made, field, depth)
        return made

    def damaged(self, raw: bytes) -> bytes:
        """Change some bytes, now and then."""
        if not raw or self.random.random() < 0.8:
            return raw
        cut = bytearray(raw)
        for _ in range(self.random.randint(1, 4)):
            cut[self.random.randrange(len(cut))] = self.random.randrange(256)
        return bytes(cut[: self.random.randint(1, len(cut))] if self.random.random() < 0.5 else cut)

    def _set(self, made: Any, field: Any, depth: int) -> None:
        if field.message_type and field.message_type.GetOptions().map_entry:
            entries = getattr(made, field.name)
            value = field.message_type.fields_by_name["value"]
            for _ in range(self.random.randint(0, 3)):
                key = self._scalar(field.message_type.fields_by_name["key"])
                if value.message_type:
                    entries[key].CopyFrom(self.request(value.message_type, depth + 1))
                else:
                    entries[key] = self._scalar(value)
        elif field.is_repeated:
            for _ in range(self.random.choice([0, 1, 1, 2, 3])):
                if field.message_type:
                    getattr(made, field.name).append(self.request(field.message_type, depth + 1))
                else:
                    getattr(made, field.name).append(self._scalar(field))
        elif field.message_type:
            getattr(made, field.name).CopyFrom(self.request(field.message_type, depth + 1))
        else:
            setattr(made, field.name, self._scalar(field))

    def _scalar(self, field: Any) -> Any:
        match field.type:
            case _F.TYPE_STRING:
                return self.random.choice(TEXTS)
            case _F.TYPE_BYTES:
                return self.random.randbytes(self.random.randint(0, 20))
            case _F.TYPE_BOOL:
                return self.random.random() < 0.5
            case _F.TYPE_DOUBLE | _F.TYPE_FLOAT:
                return self.random.choice(REAL)
            case _:
                return self.random.choice(WHOLE)


async def first(watch: Any) -> None:
    """Read from a call that only its caller ends: what it says at once, if anything."""
    reading = asyncio.ensure_future(watch.read())
    await asyncio.wait([reading], timeout=0.05)
    if reading.done():
        reading.result()
    else:
        watch.cancel()
        await asyncio.wait([reading])
        if not reading.cancelled():
            reading.exception()  # it may have ended in this moment


async def test_no_request_is_an_accident(tmp_path: Path) -> None:
    maker = Maker(seed=2)
    methods = [
        method
        for file in (chat_pb2, embed_pb2, conversation_pb2, step_run_pb2, pipeline_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    seen: Counter[tuple[str, str]] = Counter()
    store = await SqliteStore.open(tmp_path, durability="relaxed")
    async with serve(store=store, steps=registry(), limits=Limits()) as client:

        async def one(method: Any) -> None:
            raw = maker.damaged(maker.request(method.input_type).SerializeToString())
            call: Any = client.channel.unary_stream(f"/{method.containing_service.full_name}/{method.name}")
            try:
                if method.name == "WatchConversation":
                    await first(call(raw))
                else:
                    async for _ in call(raw):
                        pass
            except grpc.aio.AioRpcError as failure:
                error = told(failure)
                assert error.reason, error
                assert error.request_id, error
                assert error.code is not grpc.StatusCode.INTERNAL, (method.name, raw)
                seen[method.name, error.reason] += 1
            else:
                seen[method.name, "OK"] += 1

        for _ in range(CALLS // AT_ONCE):
            await within(asyncio.gather(*(one(maker.random.choice(methods)) for _ in range(AT_ONCE))))
    await store.close()
    answered = {method for method, how in seen if how == "OK"}
    assert len(answered) > len(methods) // 2, seen  # otherwise it is all refused at the door
    assert {"MALFORMED_REQUEST", "FIELD_INVALID", "INVALID_METADATA", "INVALID_MESSAGE"} <= {how for _, how in seen}
