"""Conversations on the real server: two chats at once, large pictures, long conversations, what a restart keeps."""

from __future__ import annotations

import asyncio
import signal
from base64 import b64encode
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format

from stepwire.v1 import chat_pb2, chat_pb2_grpc, conversation_pb2, step_run_pb2_grpc
from stepwire.v1.step_run_pb2 import CollectStepRequest
from stepwired.limits import MIB
from tests.e2e.conftest import SCRIPTED, Scripted, settings
from tests.fakeprov import Provider, behaviours
from tests.imaging.corpus import png_of_bytes
from tests.program import Program, running
from tests.rpc.keeping import Asking, refused
from tests.rpc.serving import told, within
from tests.rpc.test_pictures import blob_id

LIMIT = 20 * 1024 * 1024
ALL = conversation_pb2.MESSAGE_VIEW_ALL
SEEING = SCRIPTED.replace('endpoint = "fake"\n[models.vectors]', 'endpoint = "fake"\nimages = true\n[models.vectors]')


async def test_two_chats_at_once_make_two_branches_and_both_are_told(scripted: Scripted) -> None:
    release = asyncio.Event()
    body = behaviours.transcript(["o", "k"])
    scripted.behave(behaviours.paused(body, len(body) // 2, release))
    async with scripted.program.channel() as channel:
        ask, chat = Asking.of(channel), chat_pb2_grpc.ChatServiceStub(channel)
        await ask.CreateConversation(conversation_id="c", messages=[{"id": "s", "role": "system", "text": "S"}])
        replies = [
            aiter(chat.StreamChat(chat_pb2.StreamChatRequest(conversation_id="c", prompt=prompt, parent_id="s")))
            for prompt in ("one", "two")
        ]
        for reply in replies:  # both are with the model, and both prompts are stored
            await within(anext(reply))
        refusal = chat.StreamChat(chat_pb2.StreamChatRequest(conversation_id="c", prompt="three", if_revision=2))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(refusal.read())
        assert (told(caught.value).reason, told(caught.value).facts) == ("REVISION_MISMATCH", {"revision": "4"})
        release.set()
        finished = [[event async for event in reply][-1].finished for reply in replies]
        assert sorted(one.branched for one in finished) == [False, True]
        branch, line = sorted(finished, key=lambda one: not one.branched)
        messages = {message.id: message for message in await ask.messages(view=ALL)}
        assert len(messages) == 5
        for one in finished:
            prompt = messages[one.messages[0].parent_id]
            assert (prompt.role, prompt.parent_id) == ("user", "s")
        assert (await ask.GetConversation(conversation_id="c")).conversation.head_id == line.messages[0].id
        path = await ask.messages(view=2, message_id=branch.messages[0].id)
        assert [message.text for message in path] == ["S", messages[branch.messages[0].parent_id].text, "ok"]


async def test_a_picture_may_have_20_mib_and_not_one_byte_more(server_alone: Program) -> None:
    async with server_alone.channel() as channel:
        ask = Asking.of(channel)
        data = png_of_bytes(LIMIT)
        image = await ask.upload(data)
        assert (image.size_bytes, image.blob_id) == (20_971_520, blob_id(data))
        assert (await ask.download(image.blob_id))[1] == data
        error = await refused(ask.upload(png_of_bytes(LIMIT + 1)))
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "IMAGE_TOO_LARGE")
        assert error.facts == {"limitBytes": "20971520", "limitPixels": "50000000"}


async def test_what_was_acknowledged_is_there_after_the_end_of_the_server(tmp_path: Path) -> None:
    async with Provider(behaviours.reply()) as provider:
        async with running(tmp_path, settings(provider)) as program, program.channel() as channel:
            ask = Asking.of(channel)
            image = await ask.upload(png_of_bytes(MIB))
            await ask.CreateConversation(
                conversation_id="c", request_id="r", messages=[{"images": [{"blob_id": image.blob_id}], "text": "cat"}]
            )
            made = await ask.AppendMessages(conversation_id="c", request_id="r", messages=[{"text": "dog"}])
            await program.end(signal.SIGKILL)
        async with running(tmp_path, settings(provider)) as program, program.channel() as channel:
            ask = Asking.of(channel)
            assert await ask.AppendMessages(conversation_id="c", request_id="r", messages=[{"text": "dog"}]) == made
            assert [message.text for message in await ask.messages()] == ["cat", "dog"]
            assert len((await ask.download(image.blob_id))[1]) == MIB
            assert len((await ask.SearchMessages(query="dog")).hits) == 1


async def test_a_picture_reaches_the_model_by_its_bytes(tmp_path: Path) -> None:
    async with Provider(behaviours.reply()) as provider:
        async with (
            running(tmp_path, SEEING.format(base_url=provider.base_url)) as program,
            program.channel() as channel,
        ):
            ask, chat = Asking.of(channel), chat_pb2_grpc.ChatServiceStub(channel)
            image = await ask.upload(png_of_bytes(1000))
            await ask.CreateConversation(conversation_id="c", messages=[{"images": [{"blob_id": image.blob_id}]}])
            await chat.Chat(chat_pb2.ChatRequest(conversation_id="c", prompt="What is it?"))
        sent = str(provider.requests[-1])
        assert "data:image/png;base64," in sent


async def test_pictures_in_a_step_are_checked_as_in_a_chat(tmp_path: Path) -> None:
    async with Provider(behaviours.reply()) as provider:
        async with (
            running(tmp_path, SEEING.format(base_url=provider.base_url)) as program,
            program.channel() as channel,
        ):
            steps = step_run_pb2_grpc.StepRunServiceStub(channel)
            for data, reason in ((b"no picture", "UNSUPPORTED_IMAGE_FORMAT"), (png_of_bytes(1000), "")):
                text = b64encode(data).decode()
                step_input = {"role": "user", "text": "?", "images": [{"data": text}]}
                request = json_format.ParseDict({"steps": [{"chat": {}}], "input": step_input}, CollectStepRequest())
                if reason:
                    assert (await refused(steps.CollectStep(request))).reason == reason
                else:
                    await steps.CollectStep(request)
        assert len(provider.requests) == 1


async def test_a_server_that_ends_tells_its_watchers_and_does_not_wait_for_them(tmp_path: Path) -> None:
    endless = "[local]\nenabled = false\n[server]\nshutdown_grace_s = 3600\n"
    async with running(tmp_path, endless) as program, program.channel() as channel:
        ask = Asking.of(channel)
        await ask.CreateConversation(conversation_id="c")
        watch = ask.WatchConversation(conversation_id="c", after_revision=0)
        await within(watch.read())
        assert await program.end() == 0
        assert (await refused(watch.read())).reason == "SERVER_DRAINING"


def reset_peak(pid: int) -> int:
    """Forget the most memory that a process ever used; what it uses now, in bytes."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        pytest.skip("needs Linux's /proc")
    return used(pid, "VmRSS")


def used(pid: int, what: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(what)


@pytest.mark.timeout(180)
async def test_100_000_messages_stream_and_are_written_in_bounded_memory(server_alone: Program) -> None:
    pid = server_alone.process.pid
    async with server_alone.channel() as channel:
        ask = Asking.of(channel)
        await ask.CreateConversation(conversation_id="long")
        batch = [{"text": "What was said, and a little more of it. " * 5}] * 1000
        for _ in range(100):
            await ask.AppendMessages(conversation_id="long", messages=batch)
        error = await refused(ask.AppendMessages(conversation_id="long", messages=batch[:1]))
        assert error.fields == [("messages", "FIELD_INVALID")]
        before = reset_peak(pid)
        count = 0
        async for page in ask.StreamMessages(conversation_id="long"):
            count += len(page.messages)
        assert count == 100_000
        streamed = used(pid, "VmHWM") - before
        before = reset_peak(pid)
        size = 0
        async for piece in ask.ExportConversation(conversation_id="long"):
            size += len(piece.chunk)
        written = used(pid, "VmHWM") - before
        print(f"streamed +{streamed / MIB:.1f} MiB; wrote a file of {size / MIB:.1f} MiB in +{written / MIB:.1f} MiB")
        assert streamed < 32 * MIB
        assert written < 32 * MIB < size
