"""Whatever large thing one caller sends or takes, the loop goes on serving the others."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import pytest
from google.protobuf import struct_pb2

from stepwire.v1 import chat_pb2, conversation_pb2, message_pb2
from stepwired.events import Batch, ChatRequest, TextDelta
from tests.imaging.corpus import noise
from tests.rpc.keeping import Asking, stored
from tests.rpc.serving import STARTED, Client

STALL_S = 0.05
STREAMS = 50


class Pulse:
    """What the loop's thread worked between two turns, where others on the machine do not count; and the real time."""

    def __init__(self) -> None:
        self.worked_s = 0.0
        self.passed_s = 0.0

    async def beat(self) -> None:
        while True:
            worked, passed = time.thread_time(), time.perf_counter()
            await asyncio.sleep(0.001)
            self.worked_s = max(self.worked_s, time.thread_time() - worked)
            self.passed_s = max(self.passed_s, time.perf_counter() - passed)


async def chatter(_: ChatRequest) -> AsyncGenerator[Batch, None]:
    yield [STARTED]
    while True:
        yield [TextDelta("word")]
        await asyncio.sleep(0.02)


@asynccontextmanager
async def busy(client: Client) -> AsyncGenerator[Pulse]:
    """Fifty replies are being streamed, and the loop's pulse is taken."""
    pulse = Pulse()

    async def listen() -> None:
        async for _ in client.chat.StreamChat(chat_pb2.StreamChatRequest(prompt="hi")):
            pass

    # The collector walks through what other tests left here, for longer than through all that a server holds.
    gc.collect()
    gc.freeze()
    tasks = [asyncio.create_task(work) for work in (pulse.beat(), *(listen() for _ in range(STREAMS)))]
    try:
        await asyncio.sleep(0.05)  # all of them have begun, or soon will; nothing depends on it
        pulse.worked_s = pulse.passed_s = 0.0
        yield pulse
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        gc.unfreeze()


@cache
def picture() -> bytes:
    """16 megapixels, 16 MB."""
    return noise("PNG", (4000, 4000), "L", compress_level=0)


@cache
def file() -> bytes:
    return json.dumps([{"role": "user", "content": "What was said, and more of it. " * 10}] * 20_000).encode()


async def upload_16_megapixels(ask: Asking) -> None:
    assert (await ask.upload(picture())).width == 4000


async def import_20_000_messages(ask: Asking) -> None:
    assert (await ask.import_(file())).message_count == 20_000


async def take_it_all_back(ask: Asking) -> None:
    image = await ask.upload(picture())
    await ask.CreateConversation(conversation_id="c", messages=[{"images": [{"blob_id": image.blob_id}]}] * 3)
    await ask.import_(file(), conversation_id="d")
    before = await ask.export(image_bytes=True)
    assert len(before) > 3 * len(picture())
    assert len(await ask.export(conversation_id="d")) > len(file())
    assert len(await ask.messages(conversation_id="d")) == 20_000


@cache
def large_request() -> conversation_pb2.AppendMessagesRequest:
    data = noise("PNG", (2000, 1900), "L", compress_level=0)
    message = message_pb2.Message(images=[message_pb2.Image(data=data)] * 2)
    return conversation_pb2.AppendMessagesRequest(conversation_id="c", messages=[message], request_id="r")


async def append_large_pictures(ask: Asking) -> None:
    await ask.CreateConversation(conversation_id="c")
    await ask.stub.AppendMessages(large_request())


@cache
def many_numbers() -> conversation_pb2.AppendMessagesRequest:
    """Metadata is small and inputs of tools are not: as many numbers as one request may have, in three of them."""
    numbers = struct_pb2.ListValue(values=[struct_pb2.Value(number_value=number) for number in range(33_000)])
    use = message_pb2.ToolUse(tool_id="t", name="n")
    use.input.fields["a"].list_value.CopyFrom(numbers)
    return conversation_pb2.AppendMessagesRequest(
        conversation_id="c", messages=[message_pb2.Message(tool_use=use)] * 3, request_id="n"
    )


async def append_many_numbers(ask: Asking) -> None:
    await ask.CreateConversation(conversation_id="c")
    await ask.stub.AppendMessages(many_numbers())


@cache
def one_message() -> conversation_pb2.AppendMessagesRequest:
    """Nearly all the values that a request may have, in one message."""
    numbers = struct_pb2.ListValue(values=[struct_pb2.Value(number_value=number) for number in range(98_000)])
    use = message_pb2.ToolUse(tool_id="t", name="n")
    use.input.fields["a"].list_value.CopyFrom(numbers)
    return conversation_pb2.AppendMessagesRequest(
        conversation_id="c", messages=[message_pb2.Message(id="a", tool_use=use)]
    )


@cache
def much_metadata() -> conversation_pb2.CreateConversationRequest:
    request = conversation_pb2.CreateConversationRequest()
    numbers = struct_pb2.ListValue(values=[struct_pb2.Value(number_value=1) for _ in range(23_000)])
    request.metadata.fields["a"].list_value.CopyFrom(numbers)
    return request


async def show_many_numbers(ask: Asking) -> None:
    """By every call that shows them."""
    await ask.CreateConversation(conversation_id="c")
    await ask.stub.AppendMessages(one_message())
    await ask.GetMessage(conversation_id="c", message_id="a", image_bytes=True)
    await ask.UpdateMessage(conversation_id="c", message_id="a", status=2)
    await ask.export()
    watch = ask.WatchConversation(conversation_id="c", after_revision=0)
    while (await watch.read()).revision < 3:
        pass
    watch.cancel()


async def list_much_metadata(ask: Asking) -> None:
    for _ in range(40):
        await ask.stub.CreateConversation(much_metadata())
    token, count = "", 0
    while count == 0 or token:
        page = await ask.ListConversations(page_token=token)
        token, count = page.next_page_token, count + len(page.conversations)
    assert count == 40


WORK = [
    upload_16_megapixels,
    append_many_numbers,
    show_many_numbers,
    list_much_metadata,
    import_20_000_messages,
    append_large_pictures,
    take_it_all_back,
]


@pytest.mark.parametrize("work", WORK)
async def test_the_loop_turns_while_one_caller_does_much(
    tmp_path_factory: pytest.TempPathFactory, work: Callable[[Asking], Awaitable[None]]
) -> None:
    stalls = []
    for _ in range(3):  # what the work costs it costs each time; what the machine's other work costs it does not
        stalls.append(await stall_s(tmp_path_factory.mktemp("turn"), work))
        if stalls[-1] < STALL_S:
            return
    assert min(stalls) < STALL_S


async def stall_s(folder: Path, work: Callable[[Asking], Awaitable[None]]) -> float:
    """For how long at most the work keeps the loop from turning."""
    async with stored(folder, chat=chatter) as client:
        ask = Asking(client)
        await ask.upload(noise("PNG", (8, 8)))  # starting the process that decodes is another matter
        picture(), file(), large_request(), many_numbers(), one_message(), much_metadata()
        async with busy(client) as pulse:
            await work(ask)
    print(f"{work.__name__}: worked {pulse.worked_s * 1e3:.0f} ms at a time, {pulse.passed_s * 1e3:.0f} ms passed")
    return pulse.worked_s
