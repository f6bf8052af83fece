"""What a person wrote or chose is kept until the server has it, whatever goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.fakeprov.behaviours import in_turn, reply
from tests.imaging.corpus import drawn
from tests.page.conftest import Guard, Served, ask, replies
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
  request.onerror = fail;
  request.onsuccess = () => {
    const last = request.result.transaction("pictures", "readwrite");
    last.oncomplete = done;
    last.objectStore("pictures").count();
  };
})
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
    await expect(page.locator(".stats")).to_have_count(1 if is_first else 2)
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
