"""What the page shows when something goes wrong: what it was, and how to go on; and never a part as the whole."""

from __future__ import annotations

import json
import re
import signal
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Route, expect

from tests.fakeprov import Provider, behaviours
from tests.fakeprov.behaviours import in_turn, reply, status, truncated
from tests.page.conftest import PATIENCE_MS, SETTINGS, Guard, Served, ask, replies
from tests.program import running


async def test_a_refusal_says_why_who_to_ask_and_when_to_come_back(served: Served, guard: Guard, page: Any) -> None:
    guard.allowed = ("429",)
    served.behave(status(429, {"retry-after": "100"}, {"error": {"message": "slow down"}}))
    await ask(page, "hi")
    card = page.get_by_role("alert").filter(has_text="That did not work")
    await expect(card).to_contain_text("rate limit")
    await expect(card).to_contain_text("PROVIDER_RATE_LIMITED")
    await expect(card.get_by_title("Copy the request's id")).to_contain_text("request ")
    button = card.get_by_role("button", name="Try again")
    await expect(button).to_contain_text(" s")
    await expect(button).to_be_disabled()


async def test_what_failed_can_be_tried_again_without_being_said_twice(served: Served, guard: Guard, page: Any) -> None:
    served.behave(in_turn(status(400, body={"error": {"message": "no"}}), reply(["Yes."])))
    await ask(page, "hi")
    await page.get_by_role("button", name="Try again").click()
    await expect(replies(page)).to_have_text("Yes.")
    await expect(page.get_by_role("alert").filter(has_text="That did not work")).to_have_count(0)
    await expect(page.locator(".turn.user")).to_have_count(1)
    assert len(served.provider.requests[-1].json()["messages"]) == 1


async def test_a_reply_that_its_provider_cut_off_is_not_shown_as_whole(served: Served, page: Any) -> None:
    served.behave(in_turn(truncated(["Once", " upon"]), reply(["Once upon a time."])))
    await ask(page, "A tale?")
    await expect(replies(page)).to_have_text("Once upon")
    card = page.get_by_role("alert").filter(has_text="The reply was cut off")
    await expect(card).to_contain_text("PROVIDER_STREAM_TRUNCATED")
    await card.get_by_role("button", name="Try again").click()
    await expect(replies(page)).to_have_text("Once upon a time.")
    await expect(page.locator(".turn.reply .versions")).to_contain_text("2/2")


def frame(message: dict[str, Any], flags: int = 0) -> bytes:
    body = json.dumps(message).encode()
    return struct.pack(">BI", flags, len(body)) + body


def answering(body: bytes) -> Callable[[Route], Awaitable[None]]:
    async def answer(route: Route) -> None:
        await route.fulfill(status=200, content_type="application/connect+json", body=body)

    return answer


async def test_a_stream_that_merely_ends_has_failed(guard: Guard, page: Any) -> None:
    begun = frame({"started": {"model": "m"}}) + frame({"textDelta": {"text": "Half a"}})
    endings = {
        "without its end": begun,
        "in the middle of a message": begun + frame({"textDelta": {"text": " reply"}})[:-3],
        "with an end, but before it was finished": begun + frame({}, flags=2),
    }
    for how, body in endings.items():
        await page.route("**/StreamChat", answering(body))
        await page.get_by_role("button", name="New chat").first.click()
        await ask(page, how)
        await expect(page.get_by_role("alert").filter(has_text="The reply was cut off")).to_be_visible()
        await expect(replies(page)).to_have_text("Half a")
        await expect(page.locator(".stats")).not_to_contain_text("tokens/s")


async def test_arguments_of_a_tool_that_are_no_json_are_shown_as_they_came(page: Any) -> None:
    def call(**given: Any) -> bytes:
        return frame({"toolCall": given})

    body = (
        frame({"started": {"model": "m"}})
        + call(index=0, toolId="t", name="<b>look</b>", argumentsDelta='{"at": <i>')
        + call(index=0, argumentsDelta="\\u00 \u202e[[1e999")
        + frame({"toolResult": {"toolId": "other", "result": "nobody asked"}})
        + frame({"textDelta": {"text": "So."}})
        + frame({"finished": {"reason": "FINISH_REASON_STOP"}})
        + frame({}, flags=2)
    )
    await page.route("**/StreamChat", answering(body))
    await ask(page, "Look!")
    await expect(replies(page)).to_have_text("So.")
    fold = page.locator("details.fold")
    await expect(fold.locator("summary")).to_have_text(re.compile("<b>look</b> ?not answered"))
    await fold.locator("summary").click()
    await expect(fold.locator("pre").first).to_have_text('{"at": <i>\\u00 \u202e[[1e999')


async def test_a_server_that_is_gone_is_said_to_be_gone(tmp_path: Path, browser: Browser) -> None:
    async with (
        Provider(behaviours.stalled(["Hel", "lo"])) as provider,
        running(tmp_path, SETTINGS.format(base_url=provider.base_url)) as program,
    ):
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(f"{program.http}/")
        await ask(page, "hi")
        await expect(replies(page)).to_have_text("Hello")
        await program.end(signal.SIGKILL)
        cut = page.get_by_role("alert").filter(has_text="The reply was cut off")
        await expect(cut).to_contain_text("connection was lost")
        await expect(replies(page)).to_have_text("Hello")
        await cut.get_by_role("button", name="Try again").click()
        gone = page.get_by_role("main").get_by_role("alert").filter(has_text="That did not work")
        await expect(gone).to_contain_text("cannot be reached")
        await page.close()


async def test_a_conversation_that_is_not_there_is_said_to_be_so(guard: Guard, opened: Any) -> None:
    guard.allowed = ("404",)
    page = await opened("#no-such-conversation")
    await expect(page.locator(".gone")).to_be_visible()
    guard.allowed = ("404", "400")
    page = await opened("#%")
    await expect(page.locator("#thread")).to_contain_text("conversation")
