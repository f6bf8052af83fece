"""One reply at a time in a conversation, and one that can always be stopped."""

from __future__ import annotations

import base64
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import Page, Route, expect

from tests.fakeprov.behaviours import in_turn, reply, stalled
from tests.imaging.corpus import drawn
from tests.page.conftest import Guard, Open, Served, ask, replies
from tests.page.test_pictures import GIVE, give, sent

#: Files are read only when the test says so.
HOLD_FILES = """
() => {
  const read = FileReader.prototype.readAsDataURL;
  const held = new Promise((release) => (window.release = release));
  FileReader.prototype.readAsDataURL = function (blob) { held.then(() => read.call(this, blob)); };
}
"""
#: No conversation can be begun, until the page is loaded again.
HOLD_BEGINNINGS = """
() => {
  const ask = window.fetch;
  const held = (signal) => new Promise((_, fail) => signal.addEventListener("abort", () => fail(signal.reason)));
  window.fetch = (url, options) => (url.endsWith("CreateConversation") ? held(options.signal) : ask(url, options));
}
"""


async def choose(page: Page, conversation: str, what: str) -> None:
    line = page.locator("#conversations li", has_text=conversation)
    await line.hover()
    await line.get_by_role("button", name=f"{what} “").click()


async def search(page: Page, words: str) -> None:
    await page.keyboard.press("Control+k")
    await page.get_by_role("combobox", name="Search all messages").fill(words)
    await expect(page.locator("#hits li").first).to_contain_text(words)
    await page.keyboard.press("Enter")


async def test_what_is_sent_while_a_picture_is_read_is_sent_once_and_with_it(served: Served, page: Any) -> None:
    await page.evaluate(HOLD_FILES)
    await page.evaluate(GIVE, ["paste", "dot.png", "image/png", base64.b64encode(drawn("PNG")).decode()])
    await ask(page, "What is this?")
    await ask(page, "And what is that?")
    await page.evaluate("release()")
    await expect(replies(page)).to_have_text("Hello.")
    await expect(page.locator(".turn.user .bubble")).to_have_text(["And what is that?"])
    assert len(served.provider.requests) == 1
    assert [part["type"] for part in sent(served)].count("image_url") == 1


async def test_an_edited_message_waits_until_the_reply_is_written_or_stopped(served: Served, page: Any) -> None:
    served.behave(in_turn(reply(["First."]), stalled(["Sec"]), reply(["Third."])))
    await ask(page, "What is a fox?")
    await expect(replies(page)).to_have_text("First.")
    await page.get_by_role("button", name="Edit and ask again").click()
    field = page.get_by_label("Your message")
    await field.fill("What is a wolf?")
    await ask(page, "Go on.")
    await expect(replies(page)).to_have_text(["First.", "Sec"])
    again = page.get_by_role("button", name="Ask again", exact=True)
    await expect(again).to_be_disabled()
    await field.press("Enter")
    await expect(field).to_have_value("What is a wolf?")
    await page.get_by_role("button", name="Stop").click()
    await served.provider.closed(2)
    assert len(served.provider.requests) == 2
    await again.click()
    await expect(replies(page)).to_have_text(["Third."])


async def test_a_hit_in_another_version_does_not_take_a_reply_out_of_reach(served: Served, page: Any) -> None:
    served.behave(in_turn(reply(["One."]), reply(["Two."]), stalled(["Thr"])))
    await ask(page, "What is a quagga?")
    await expect(replies(page)).to_have_text("One.")
    await page.get_by_role("button", name="Edit and ask again").click()
    await page.get_by_label("Your message").fill("What is a wolf?")
    await page.keyboard.press("Enter")
    await expect(replies(page)).to_have_text("Two.")
    await ask(page, "Go on.")
    await expect(replies(page)).to_have_text(["Two.", "Thr"])
    await search(page, "quagga")
    await expect(page.locator("#notice")).to_contain_text("another version")
    await expect(replies(page)).to_have_text(["Two.", "Thr"])
    await page.get_by_role("button", name="Stop").click()
    await served.provider.closed(3)
    await expect(page.locator(".cut")).to_be_visible()
    await search(page, "quagga")
    await expect(replies(page)).to_have_text(["One."])


async def delete(page: Page, conversation: str) -> None:
    await choose(page, conversation, "Delete")
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()


async def test_a_conversation_that_is_deleted_while_it_is_answered_stops_the_model_first(
    served: Served, guard: Guard, page: Any
) -> None:
    guard.allowed = ("404",)  # its watch, and whatever else asked for it meanwhile

    async def behind_the_end(route: Route) -> None:
        await served.provider.closed()  # before the server has heard of the deletion
        await route.continue_()

    await page.route("**/DeleteConversation", behind_the_end)
    served.behave(in_turn(stalled(["Once"]), reply(["Else."])))
    await ask(page, "A tale to be deleted")
    await expect(replies(page)).to_have_text("Once")
    await delete(page, "A tale to be deleted")
    await expect(page.locator("#empty")).to_be_visible()
    await ask(page, "Something else")
    await expect(replies(page)).to_have_text("Else.")
    await expect(page.locator(".stats")).to_be_visible()
    await page.reload()
    await expect(page.locator("#conversations li", has_text="Something else")).to_be_visible()
    await expect(page.locator("#conversations li", has_text="A tale to be deleted")).to_have_count(0)
    assert len(served.provider.requests) == 2


async def test_a_conversation_that_is_deleted_in_another_tab_stops_the_model_though_nobody_looks(
    served: Served, guard: Guard, page: Any, opened: Open
) -> None:
    guard.allowed = ("404",)
    served.behave(stalled(["Once"]))
    await ask(page, "A tale in two tabs")
    await expect(replies(page)).to_have_text("Once")
    await page.get_by_role("button", name="New chat").first.click()
    other = await opened(beside=page)
    await delete(other, "A tale in two tabs")
    await served.provider.closed()
    await expect(page.locator("#conversations li", has_text="A tale in two tabs")).to_have_count(0)


async def test_nothing_is_stored_of_a_reply_whose_conversation_a_program_deletes(
    served: Served, guard: Guard, page: Any
) -> None:
    guard.allowed = ("404",)
    word = f"quokka{uuid4().hex}"  # that no other conversation of this server has
    served.behave(stalled([f"{word} is small."]))
    await ask(page, "A tale of a program")
    await expect(replies(page)).to_have_text(f"{word} is small.")
    await page.evaluate(
        """async () => {
          const {deleteConversation} = await import("/js/api.js");
          await deleteConversation(location.hash.slice(1));
        }"""
    )
    await served.provider.closed()
    await expect(page.locator(".gone")).to_be_visible()
    found = await page.evaluate(
        """async (word) => {
          const {searchMessages, getConversation} = await import("/js/api.js");
          const hits = await searchMessages(word, "");
          return [hits, await getConversation(location.hash.slice(1)).catch((error) => error.code)];
        }""",
        word,
    )
    assert found == [{}, "not_found"]


@pytest.mark.parametrize("text", ["a" + "😀" * 80, "😀" * 80], ids=["odd", "even"])
async def test_titles_are_cut_between_characters(page: Any, text: str) -> None:
    await ask(page, text)
    await expect(replies(page)).to_have_text("Hello.")
    await expect(page.locator("#title")).to_have_text(f"{text[:30]}…")


async def test_names_of_pictures_are_cut_between_characters(served: Served, page: Any) -> None:
    await give(page, "paste", drawn("PNG"), "x" * 79 + "😀.png")
    await expect(page.locator("#tray img")).to_have_count(1)
    await ask(page, "What is this?")
    await expect(replies(page)).to_have_text("Hello.")
    await expect(page.locator(".turn.user img")).to_have_attribute("alt", "x" * 79 + "😀")


async def test_stop_while_a_conversation_is_begun_gives_the_message_back(served: Served, page: Any) -> None:
    await page.evaluate(HOLD_BEGINNINGS)
    await give(page, "paste", drawn("PNG"))
    await expect(page.locator("#tray img")).to_have_count(1)
    await ask(page, "Not yet")
    await page.get_by_role("button", name="Stop").click()
    field = page.locator("#field")
    await expect(field).to_have_value("Not yet")
    await expect(page.locator("#tray img")).to_have_count(1)
    await expect(page.locator(".turn")).to_have_count(0)
    await page.reload()
    await expect(field).to_have_value("Not yet")
    await field.press("Enter")
    await expect(replies(page)).to_have_text("Hello.")
    await expect(page.locator(".turn.user")).to_have_count(1)
    await expect(page.locator(".versions")).to_have_count(0)
    assert len(served.provider.requests) == 1


async def test_the_page_needs_no_secure_context(served: Served, guard: Guard, page: Any) -> None:
    await page.add_init_script("delete Crypto.prototype.randomUUID; delete Navigator.prototype.locks")
    await page.reload()
    await ask(page, "hi")
    await expect(replies(page)).to_have_text("Hello.")
    await expect(page.locator(".stats")).to_be_visible()
    guard.allowed = ("ERR_FAILED",)
    await page.route("**/StreamChat", lambda route: route.abort())
    await ask(page, "Not sent")
    await expect(page.get_by_role("button", name="Try again")).to_be_visible()
    await page.reload()
    await expect(page.locator("#field")).to_have_value("Not sent")
