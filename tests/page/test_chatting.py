"""What a person does on the page, and what the server and the provider see of it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from playwright.async_api import expect

from tests.fakeprov import Exchange
from tests.fakeprov.behaviours import STREAM, chunk, in_turn, paused, reply, stalled, transcript
from tests.page.conftest import Open, Served, ask, create, replies

DONE = b"data: [DONE]\n\n"


async def test_a_reply_is_shown_while_it_comes_and_its_speed_when_it_is_there(served: Served, page: Any) -> None:
    release = asyncio.Event()
    body = transcript(["**Foxes**", " are", " red."])
    served.behave(paused(body, body.index(b" red."), release))
    await ask(page, "What are foxes?")
    turn = page.locator(".turn.reply")
    await expect(turn.locator("strong")).to_have_text("Foxes")
    await expect(turn).to_have_attribute("aria-busy", "true")
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    release.set()
    await expect(replies(page)).to_have_text("Foxes are red.")
    await expect(turn).to_have_attribute("aria-busy", "false")
    await expect(turn.locator(".stats")).to_contain_text("to first token")
    await expect(turn.locator(".stats")).to_contain_text("tokens/s")
    await expect(page.locator("#announcer")).to_contain_text("Foxes")


async def test_stop_closes_the_providers_socket_and_keeps_what_was_said(served: Served, page: Any) -> None:
    served.behave(stalled(["Once", " upon"]))
    await ask(page, "A tale, please.")
    await expect(replies(page)).to_have_text("Once upon")
    await page.get_by_role("button", name="Stop").click()
    await served.provider.closed()
    await expect(page.locator(".cut")).to_contain_text("Stopped")
    await page.reload()
    await expect(replies(page)).to_have_text("Once upon")
    await expect(page.locator(".cut")).to_contain_text("cut off before it was whole")
    served.behave(reply(["The end."]))
    await ask(page, "Go on.")
    await expect(replies(page)).to_have_text(["Once upon", "The end."])
    said = [message["content"] for message in served.provider.requests[-1].json()["messages"]]
    assert said == ["A tale, please.", "Once upon", "Go on."]


async def test_escape_stops_a_model_that_has_said_nothing_yet(served: Served, page: Any) -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.gone()

    served.behave(silent)
    await ask(page, "Hello?")
    await served.provider.asked.wait()
    await page.keyboard.press("Escape")
    await served.provider.closed()
    await expect(page.locator(".cut")).to_have_text("Stopped before the first word.")
    served.behave(reply(["Now."]))
    await page.get_by_role("button", name="Answer again").click()
    await expect(replies(page)).to_have_text("Now.")
    await expect(page.locator(".turn.user")).to_have_count(1)


async def test_a_conversation_is_there_again_after_a_reload_and_in_another_tab(page: Any, opened: Open) -> None:
    await ask(page, "One two three four five six seven eight nine ten eleven twelve thirteen fourteen")
    await expect(replies(page)).to_have_text("Hello.")
    stats = await page.locator(".stats").text_content()
    title = "One two three four five six seven eight nine ten eleven…"
    await expect(page.locator("#title")).to_have_text(title)
    await page.reload()
    await expect(replies(page)).to_have_text("Hello.")
    await expect(page.locator(".stats")).to_have_text(stats)
    other = await opened(page.url.rpartition("/")[2], beside=page)
    await expect(other.get_by_role("link", name=title)).to_have_attribute("aria-current", "page")
    await ask(other, "And now?")
    await expect(replies(other)).to_have_count(2)
    await page.bring_to_front()
    await expect(replies(page)).to_have_count(2)


async def test_a_message_that_is_edited_becomes_a_branch_beside_the_first(served: Served, page: Any) -> None:
    served.behave(in_turn(reply(["First."]), reply(["Second."]), reply(["Third."]), reply(["Fourth."])))
    await ask(page, "What is a fox?")
    await expect(replies(page)).to_have_text("First.")
    await page.get_by_role("button", name="Edit and ask again").click()
    await page.get_by_label("Your message").fill("What is a wolf?")
    await page.keyboard.press("Enter")
    await expect(replies(page)).to_have_text("Second.")
    user = page.locator(".turn.user")
    await expect(user.locator(".versions")).to_contain_text("2/2")
    await ask(page, "Go on.")
    await expect(replies(page)).to_have_text(["Second.", "Third."])
    await user.first.get_by_role("button", name="Previous version").click()
    await expect(replies(page)).to_have_text(["First."])
    await page.reload()  # the head has moved on the server
    await expect(replies(page)).to_have_text(["First."])
    await ask(page, "And on from here.")
    await expect(replies(page)).to_have_text(["First.", "Fourth."])
    said = [message["content"] for message in served.provider.requests[-1].json()["messages"]]
    assert said == ["What is a fox?", "First.", "And on from here."]


async def test_another_answer_is_kept_beside_the_first(served: Served, page: Any) -> None:
    served.behave(in_turn(reply(["One."]), reply(["Two."])))
    await ask(page, "A number?")
    await expect(replies(page)).to_have_text("One.")
    await page.get_by_role("button", name="Answer again").click()
    await expect(replies(page)).to_have_text("Two.")
    await expect(page.locator(".turn.reply .versions")).to_contain_text("2/2")
    await page.get_by_role("button", name="Previous version").click()
    await expect(replies(page)).to_have_text("One.")
    await page.reload()
    await expect(replies(page)).to_have_text("One.")


async def test_thoughts_are_folded_while_they_come_and_after(served: Served, page: Any) -> None:
    release = asyncio.Event()
    body = chunk(reasoning_content="They want <b>foxes</b>.") + transcript(["Foxes."])
    served.behave(paused(body, body.index(b"Foxes."), release))
    await ask(page, "Think!")
    fold = page.locator("details.fold")
    await expect(fold.locator("summary")).to_have_text("Thinking…")
    release.set()
    await expect(replies(page)).to_have_text("Foxes.")
    await expect(fold.locator("summary")).to_have_text("Thoughts")
    await expect(fold.locator(".fold-text")).to_be_hidden()
    await fold.locator("summary").click()
    await expect(fold.locator(".fold-text")).to_have_text("They want <b>foxes</b>.")


async def test_tools_that_were_called_are_folded_with_their_answers(page: Any) -> None:
    use = {"toolId": "t1", "name": "look", "input": {"at": "<b>foxes</b>"}}
    failed = {"toolId": "t2", "name": "jump", "input": {}}
    messages = [
        {"text": "Look!"},
        {"role": "assistant", "text": "I look."},
        {"toolUse": use},
        {"toolUse": failed},
        {"toolResult": {"toolId": "t1", "result": "3 <i>foxes</i>"}},
        {"toolResult": {"toolId": "t2", "result": "too high", "isError": True}},
        {"role": "assistant", "text": "Three."},
    ]
    await create(page, "with-tools", messages)
    await expect(replies(page)).to_have_text(["I look.", "Three."])
    await expect(page.locator(".turn.reply")).to_have_count(1)
    folds = page.locator("details.fold")
    await expect(folds.locator("summary")).to_have_text([re.compile("look ?answered"), re.compile("jump ?failed")])
    await folds.first.locator("summary").click()
    await expect(folds.first.locator("pre").first).to_contain_text("<b>foxes</b>")
    await expect(folds.first.locator("pre").last).to_have_text("3 <i>foxes</i>")


async def test_conversations_are_renamed_searched_and_deleted(served: Served, page: Any, opened: Open) -> None:
    served.behave(reply(["A fox has a den in the <i>forest</i>."]))
    await ask(page, "Where does the zebrafox live?")
    await expect(replies(page)).to_be_visible()
    line = page.locator("#conversations li", has_text="zebrafox")
    await line.hover()
    await line.get_by_role("button", name="Rename").click()
    await page.get_by_label("New name").fill("Dens & burrows")
    await page.keyboard.press("Enter")
    await expect(page.locator("#title")).to_have_text("Dens & burrows")
    await page.get_by_role("button", name="New chat").first.click()
    await expect(page.locator("#empty")).to_be_visible()
    await page.keyboard.press("Control+k")
    await page.get_by_role("combobox", name="Search all messages").press_sequentially("zebraf")
    hit = page.locator("#hits li").filter(has_text="Dens & burrows")
    await expect(hit.locator("mark")).to_have_text("zebrafox")
    await page.keyboard.press("Enter")
    await expect(page.locator(".turn.user")).to_have_text(re.compile("zebrafox"))
    line = page.locator("#conversations li", has_text="Dens & burrows")
    await line.hover()
    await line.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(line).to_have_count(0)
    await expect(page.locator("#empty")).to_be_visible()


async def test_the_model_that_was_chosen_is_asked_and_remembered(served: Served, page: Any) -> None:
    await page.get_by_label("Model").select_option("other")
    await ask(page, "hi")
    await expect(replies(page)).to_have_text("Hello.")
    assert served.provider.requests[-1].json()["model"] == "other"
    await page.reload()
    await expect(page.get_by_label("Model")).to_have_value("other")


async def test_a_draft_outlives_the_page_and_shift_enter_begins_a_line(served: Served, page: Any) -> None:
    field = page.locator("#field")
    await field.press_sequentially("one")
    await field.press("Shift+Enter")
    await field.press_sequentially("two")
    await page.reload()
    await expect(field).to_have_value("one\ntwo")
    await field.press("Enter")
    await expect(replies(page)).to_have_text("Hello.")
    assert served.provider.requests[-1].json()["messages"][-1]["content"] == "one\ntwo"
    await page.reload()
    await expect(field).to_have_value("")


async def test_a_reply_goes_on_while_another_conversation_is_read(served: Served, page: Any) -> None:
    release = asyncio.Event()

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, STREAM)
        await exchange.chunk(chunk("Slow"))
        await release.wait()
        await exchange.chunk(chunk("ly.") + chunk(finish="stop") + DONE)
        await exchange.end()

    served.behave(behave)
    await ask(page, "Slow one")
    await expect(replies(page)).to_have_text("Slow")
    await page.get_by_role("button", name="New chat").first.click()
    await expect(page.locator("#empty")).to_be_visible()
    line = page.locator("#conversations li", has_text="Slow one")
    await expect(line.get_by_label("A reply is being written")).to_be_visible()
    release.set()
    await expect(line.get_by_label("A reply is being written")).to_have_count(0)
    await line.get_by_role("link").click()
    await expect(replies(page)).to_have_text("Slowly.")
