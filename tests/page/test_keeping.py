"""What a person wrote or chose is kept until the server has it, whatever goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.fakeprov.behaviours import in_turn, reply
from tests.imaging.corpus import drawn
from tests.page.conftest import Guard, Open, Served, ask, replies
from tests.page.test_pictures import give, sent
from tests.page.test_sending import search

CALLS = "**/stepwire.v1.*/**"


async def take_away(page: Page, guard: Guard) -> None:
    """From now on the page cannot reach the server."""
    guard.allowed = ("ERR_FAILED",)
    await page.route(CALLS, lambda route: route.abort())


#: Ends when all that was begun before is written.
WRITTEN = """
() => new Promise((done, fail) => {
  const request = indexedDB.open("stepwire", 1);
  request.onupgradeneeded = () => request.transaction.abort(); // nothing is kept at all
  request.onerror = () => fail(request.error);
  request.onsuccess = () => {
    const last = request.result.transaction("pictures", "readwrite");
    last.oncomplete = done;
    last.objectStore("pictures").count();
  };
})
"""

#: Tells when the browser has closed, under the page's hands, what pictures are kept in.
HEAR_CLOSED = """
const open = IDBFactory.prototype.open;
window.closing = new Promise((closed) => {
  IDBFactory.prototype.open = function (...given) {
    const request = open.apply(this, given);
    request.addEventListener("success", () => request.result.addEventListener("close", () => closed()));
    return request;
  };
});
"""
#: No reply is asked for until the test says so.
HOLD_SENDING = """
() => {
  const ask = window.fetch;
  const held = new Promise((release) => (window.release = release));
  window.fetch = async (url, options) => {
    if (url.endsWith("StreamChat")) await held;
    return ask(url, options);
  };
}
"""
#: A draft's conversation is deleted while the pictures that it had are read, and while others are given back to it:
#: what is kept and shown of it after all.
FORGET = """
async () => {
  const {shelve, shelved} = await import("/js/shelf.js");
  const {Composer} = await import("/js/views/composer.js");
  const made = (kind) => document.createElement(kind);
  const parts = {form: made("form"), field: made("textarea"), file: made("input"), tray: made("ul"), notice: made("p")};
  Object.assign(parts, {attach: made("button"), button: made("button")});
  const composer = new Composer(parts, {send() {}, stop() {}});
  const picture = {data: "AAAA", name: "dot.png"};
  await shelve("draft.deleted", [picture]);
  composer.open("deleted");
  composer.giveBack("deleted", {text: "", images: [picture]});
  const read = composer.add([]); // behind all that is read for the draft
  composer.forget("deleted");
  await read;
  await shelved("draft.deleted"); // whatever was begun is done then
  return [(await shelved("draft.deleted")).length, parts.tray.children.length];
}
"""


async def kept(page: Page) -> None:
    """Wait until what the browser is to keep is kept: it does in order what it is asked for."""
    await page.evaluate(WRITTEN)


async def begun(page: Page, text: str) -> str:
    """A conversation with one answer; its id."""
    await ask(page, text)
    await expect(replies(page)).to_have_text("Hello.")
    await expect(page.locator(".stats")).to_be_visible()
    return page.url.partition("#")[2]


async def new_chat(page: Page) -> None:
    await page.get_by_role("button", name="New chat").first.click()
    await expect(page.locator("#empty")).to_be_visible()


def failure(page: Page) -> Any:
    return page.get_by_role("main").get_by_role("alert").filter(has_text="That did not work")


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "later"])
async def test_what_could_not_be_sent_is_there_after_looking_elsewhere(
    served: Served, guard: Guard, page: Any, is_first: bool
) -> None:
    if not is_first:
        await begun(page, "Fortune comes later")
    await take_away(page, guard)
    await ask(page, "Fortune comes first")
    await expect(failure(page)).to_contain_text("cannot be reached")
    await new_chat(page)
    await (
        page.locator("#conversations li", has_text=f"Fortune comes {'first' if is_first else 'later'}")
        .get_by_role("link")
        .click()
    )
    await expect(page.locator(".turn.user").last).to_have_text("You saidFortune comes first")
    await page.unroute(CALLS)
    await page.locator(".turn.reply").get_by_role("button", name="Try again").click()
    await expect(replies(page)).to_have_text(["Hello."] * (1 if is_first else 2))
    assert served.provider.requests[-1].json()["messages"][-1]["content"] == "Fortune comes first"
    await page.reload()
    await expect(replies(page)).to_have_count(1 if is_first else 2)
    await expect(page.locator("#field")).to_have_value("")


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "later"])
async def test_what_could_not_be_sent_is_a_draft_after_a_reload(
    served: Served, guard: Guard, page: Any, is_first: bool
) -> None:
    if not is_first:
        await begun(page, "Another unlucky one")
    await take_away(page, guard)
    await give(page, "paste", drawn("PNG"))
    await expect(page.locator("#tray img")).to_have_count(1)
    await ask(page, "A message that is not stored")
    await expect(failure(page)).to_contain_text("cannot be reached")
    await expect(page.locator("#tray img")).to_have_count(0)
    await kept(page)
    await page.unroute(CALLS)
    guard.allowed = ("ERR_FAILED", "404")
    await page.reload()
    await expect(page.locator("#tray img")).to_have_count(1)
    await expect(page.locator("#field")).to_have_value("A message that is not stored")
    await expect(page.locator("#notice")).to_contain_text("not sent")
    await expect(page.locator(".gone")).to_have_count(0)
    await expect(replies(page)).to_have_count(0 if is_first else 1)
    await page.locator("#field").press("Enter")
    await expect(replies(page)).to_have_count(1 if is_first else 2)
    await expect(page.locator(".turn.reply").last.locator(".stats")).to_be_visible()
    assert [part["type"] for part in sent(served)].count("image_url") == 1
    await kept(page)
    await page.reload()
    await expect(replies(page)).to_have_count(1 if is_first else 2)
    await kept(page)
    await expect(page.locator("#field")).to_have_value("")
    await expect(page.locator("#tray img")).to_have_count(0)


async def test_pictures_of_a_draft_outlive_the_page_until_they_are_sent_or_taken_out(served: Served, page: Any) -> None:
    tray = page.locator("#tray img")
    for at in range(3):
        await give(page, "paste", drawn("PNG"), f"{at}.png")
        await expect(tray).to_have_count(at + 1)
    await page.get_by_role("button", name="Remove 1.png").click()
    await kept(page)
    await page.reload()
    await expect(tray).to_have_count(2)
    await new_chat(page)
    await expect(tray).to_have_count(2)
    await page.get_by_role("button", name="Send").click()
    await expect(replies(page)).to_have_text("Hello.")
    assert [part["type"] for part in sent(served)] == ["image_url"] * 2
    await kept(page)
    await page.reload()
    await expect(replies(page)).to_have_text("Hello.")
    await new_chat(page)
    await kept(page)
    await expect(tray).to_have_count(0)


async def test_pictures_are_kept_again_after_what_the_browser_kept_was_cleared(served: Served, page: Any) -> None:
    await page.add_init_script(HEAR_CLOSED)
    await page.reload()
    tray = page.locator("#tray img")
    await give(page, "paste", drawn("PNG"), "0.png")
    await expect(tray).to_have_count(1)
    browser = await page.context.new_cdp_session(page)
    await browser.send("Storage.clearDataForOrigin", {"origin": served.url.rstrip("/"), "storageTypes": "indexeddb"})
    await page.evaluate("closing")
    await give(page, "paste", drawn("PNG"), "1.png")
    await expect(tray).to_have_count(2)
    await kept(page)
    await page.reload()
    await expect(tray).to_have_count(2)


async def test_no_picture_comes_back_to_a_conversation_that_is_deleted_while_it_is_read(page: Any) -> None:
    assert await page.evaluate(FORGET) == [0, 0]


@pytest.mark.parametrize("end", ["stored", "closed"])
async def test_what_a_tab_is_sending_is_no_draft_of_another_before_that_is_closed(
    served: Served, guard: Guard, page: Any, opened: Open, end: str
) -> None:
    await begun(page, "A message in two tabs")
    await page.evaluate(HOLD_SENDING)
    await give(page, "paste", drawn("PNG"))
    await expect(page.locator("#tray img")).to_have_count(1)
    await ask(page, "On its way")
    await expect(page.locator(".turn.user")).to_have_count(2)
    other = await opened("#" + page.url.partition("#")[2], beside=page)
    await expect(replies(other)).to_have_text("Hello.")
    await kept(other)  # what was taken of it would be there now
    field, tray = other.locator("#field"), other.locator("#tray img")
    assert (await field.input_value(), await tray.count()) == ("", 0)
    if end == "stored":
        await page.evaluate("release()")
        await expect(replies(page)).to_have_count(2)
        await expect(replies(other)).to_have_count(2)
        await other.reload()
        await expect(replies(other)).to_have_count(2)
        await kept(other)
        assert (await field.input_value(), await tray.count()) == ("", 0)
    else:
        await page.close()
        await expect(field).to_have_value("On its way")
        await expect(tray).to_have_count(1)
        await expect(other.locator("#notice")).to_contain_text("not sent")
    assert len(served.provider.requests) == (2 if end == "stored" else 1)


async def test_a_browser_that_keeps_nothing_can_send_pictures_all_the_same(served: Served, page: Any) -> None:
    await page.add_init_script("IDBFactory.prototype.open = () => { throw new DOMException('no', 'SecurityError'); }")
    await page.reload()
    await give(page, "paste", drawn("PNG"))
    await ask(page, "What is this?")
    await expect(replies(page)).to_have_text("Hello.")
    assert [part["type"] for part in sent(served)].count("image_url") == 1


async def test_a_picture_is_what_it_was_when_it_was_chosen(served: Served, page: Any, tmp_path: Path) -> None:
    file = tmp_path / "shot.png"
    file.write_bytes(drawn("PNG"))
    await page.locator("#file").set_input_files(file)
    await expect(page.locator("#tray img")).to_have_count(1)
    file.write_bytes(b"something else, and of another size")
    await ask(page, "What is this?")
    await expect(replies(page)).to_have_text("Hello.")
    assert [part["type"] for part in sent(served)].count("image_url") == 1


async def test_a_picture_that_cannot_be_read_is_told_and_costs_no_words(served: Served, page: Any) -> None:
    await page.locator("#field").fill("What is this?")
    await page.evaluate(
        """() => {
          FileReader.prototype.readAsDataURL = function () { queueMicrotask(() => this.onerror()); };
        }"""
    )
    await give(page, "paste", drawn("PNG"))
    await expect(page.locator("#notice")).to_contain_text("“dot.png” cannot be read")
    await expect(page.locator("#tray img")).to_have_count(0)
    await expect(page.locator("#field")).to_have_value("What is this?")


async def test_pictures_stay_in_the_tray_of_their_conversation(page: Any) -> None:
    await begun(page, "An okapi")
    await give(page, "paste", drawn("PNG"))
    tray = page.locator("#tray img")
    await expect(tray).to_have_count(1)
    await search(page, "okapi")
    await expect(page.locator(".turn.user.revealed, .turn.user[tabindex]")).to_have_count(1)
    await expect(tray).to_have_count(1)
    await new_chat(page)
    await expect(tray).to_have_count(0)
    await page.go_back()
    await expect(tray).to_have_count(1)


async def test_a_version_that_cannot_be_chosen_is_told_where_everybody_sees_it(
    served: Served, guard: Guard, page: Any
) -> None:
    served.behave(in_turn(reply(["One."]), reply(["Two."])))
    await ask(page, "A number?")
    await expect(replies(page)).to_have_text("One.")
    await page.get_by_role("button", name="Answer again").click()
    await expect(replies(page)).to_have_text("Two.")
    await take_away(page, guard)
    await page.get_by_role("button", name="Previous version").click()
    await expect(page.locator("#notice")).to_contain_text("cannot be reached")
    await expect(replies(page)).to_have_text("Two.")
