"""The page for those who do not see it, have no mouse, or little room; and in every state that it can be in."""

from __future__ import annotations

from typing import Any

from playwright.async_api import expect

from tests.fakeprov.behaviours import in_turn, reply, stalled, status
from tests.imaging.corpus import drawn
from tests.page.conftest import Guard, Open, Served, ask, axe, create, replies
from tests.page.test_pictures import give

TEXT = """## Foxes

They are **red**, see [here](https://example.com).

```python
print('fox')  # red
```

| a | b |
|---|---|
| 1 | 2 |
"""


async def test_the_checker_has_nothing_to_say_in_any_state(served: Served, guard: Guard, opened: Open) -> None:
    guard.allowed = ("429", "400")
    page = await opened(color_scheme="light")
    await expect(page.locator("#model option")).to_have_count(2)
    found = {"empty": await axe(page)}
    served.behave(stalled([TEXT]))
    await ask(page, "What are foxes?")
    await expect(page.locator(".turn table")).to_be_visible()
    found["streaming"] = await axe(page)
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator(".cut")).to_be_visible()
    found["stopped"] = await axe(page)
    served.behave(in_turn(reply([TEXT]), status(429, {"retry-after": "100"})))
    served.provider.requests.clear()
    await page.get_by_role("button", name="Answer again").click()
    await expect(page.locator(".turn.reply .versions")).to_contain_text("2/2")
    await expect(page.locator(".stats")).to_be_visible()
    found["branch"] = await axe(page)
    await page.emulate_media(color_scheme="dark")
    found["dark"] = await axe(page)
    served.behave(status(429, {"retry-after": "100"}))
    await ask(page, "More.")
    await expect(page.get_by_role("alert").filter(has_text="That did not work")).to_be_visible()
    found["error, dark"] = await axe(page)
    await page.emulate_media(color_scheme="light")
    found["error"] = await axe(page)
    await page.keyboard.press("Control+k")
    await page.get_by_role("combobox", name="Search all messages").press_sequentially("foxes")
    await expect(page.locator("#hits li").first).to_be_visible()
    found["search"] = await axe(page)
    await page.keyboard.press("Escape")
    await page.set_viewport_size({"width": 390, "height": 780})
    found["narrow"] = await axe(page)
    await page.get_by_role("button", name="Conversations").click()
    await expect(page.locator("#drawer")).to_be_in_viewport()
    found["narrow, list"] = await axe(page)
    assert {state: said for state, said in found.items() if said} == {}


async def test_the_checker_has_nothing_to_say_while_something_is_done(opened: Open) -> None:
    page = await opened(color_scheme="light")
    messages = [
        {"text": "שלום"},
        {"role": "assistant", "reasoning": {"text": "Well."}},
        {"toolUse": {"toolId": "t", "name": "look", "input": {}}},
        {"toolResult": {"toolId": "t", "result": "no", "isError": True}},
        {"role": "assistant", "text": "שלום.\n\n```js\n// \u202e\n```"},
    ]
    await create(page, "to-be-checked", messages, title="To be checked")
    await expect(page.locator(".code-turn")).to_be_visible()
    found = {"folded": await axe(page)}
    for fold in await page.locator(".fold summary").all():
        await fold.click()
    found["unfolded"] = await axe(page)
    await page.emulate_media(color_scheme="dark")
    found["unfolded, dark"] = await axe(page)
    await give(page, "paste", drawn("PNG"))
    await give(page, "drop", b"hello", "note.txt", "text/plain")
    await expect(page.locator("#notice")).to_be_visible()
    await expect(page.locator("#tray img")).to_be_visible()
    found["pictures, dark"] = await axe(page)
    await page.emulate_media(color_scheme="light")
    found["pictures"] = await axe(page)
    await page.get_by_role("button", name="Edit and ask again").click()
    found["editing"] = await axe(page)
    line = page.locator("#conversations li", has_text="To be checked").get_by_role("link")
    await line.press("F2")
    found["renaming"] = await axe(page)
    await page.keyboard.press("Escape")
    await line.press("Delete")
    await expect(page.get_by_role("dialog")).to_be_visible()
    found["asked"] = await axe(page)
    assert {state: said for state, said in found.items() if said} == {}


async def test_everything_can_be_done_with_the_keyboard_alone(served: Served, opened: Open) -> None:
    page = await opened()
    await expect(page.locator("#field")).to_be_focused()
    served.behave(in_turn(reply(["One."]), stalled(["Two"]), reply(["Three."])))
    await page.keyboard.type("First")
    await page.keyboard.press("Enter")
    await expect(replies(page)).to_have_text("One.")
    await page.keyboard.type("Second")
    await page.keyboard.press("Enter")
    await expect(replies(page)).to_have_text(["One.", "Two"])
    await page.keyboard.press("Escape")
    await expect(page.locator(".cut")).to_be_visible()
    # Backwards from the field to the last reply's "Answer again".
    again = page.get_by_role("button", name="Answer again").last
    for _ in range(6):
        if await again.evaluate("(each) => each === document.activeElement"):
            break
        await page.keyboard.press("Shift+Tab")
    await expect(again).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(replies(page)).to_have_text(["One.", "Three."])
    await expect(page.locator("#field")).to_be_focused()
    await page.keyboard.press("Control+k")
    await page.keyboard.type("Second")
    await expect(page.locator("#hits li").first).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("#field")).to_be_focused()


async def test_the_first_key_offers_a_way_past_the_list(opened: Open) -> None:
    # Without a mouse the field is not focused by itself: there, it would bring up the keyboard on the screen.
    page = await opened(has_touch=True, is_mobile=True)
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the message field")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.locator("#field")).to_be_focused()
    assert "#" not in page.url


async def test_on_a_narrow_screen_the_list_is_a_drawer(opened: Open) -> None:
    page = await opened(viewport={"width": 390, "height": 780})
    await ask(page, "hi")
    await expect(replies(page)).to_have_text("Hello.")
    await expect(page.locator("#drawer")).not_to_be_in_viewport()
    await page.get_by_role("button", name="Conversations").click()
    await expect(page.locator("#drawer")).to_be_in_viewport()
    await page.keyboard.press("Escape")
    await expect(page.locator("#drawer")).not_to_be_in_viewport()
    await expect(page.get_by_role("button", name="Conversations")).to_be_focused()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_colours_follow_the_system_or_the_persons_choice(opened: Open) -> None:
    page = await opened(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = await page.evaluate(ground)
    await page.get_by_label("Colours").select_option("light")
    assert await page.evaluate(ground) != dark
    await page.reload()
    assert await page.evaluate(ground) != dark
    await page.get_by_label("Colours").select_option("system")
    assert await page.evaluate(ground) == dark


async def test_what_is_said_aloud_is_said_once_and_not_word_by_word(served: Served, guard: Guard, page: Any) -> None:
    guard.allowed = ("429",)
    await page.evaluate(
        """() => {
          window.said = [];
          const announcer = document.querySelector("#announcer");
          new MutationObserver(() => window.said.push(announcer.textContent)).observe(announcer, {childList: true});
        }"""
    )
    refused = status(429, {"retry-after": "100"})
    served.behave(in_turn(reply(["word "] * 30), stalled(["Half"]), reply(["Two."]), refused))
    await ask(page, "One?")
    await expect(page.locator("#announcer")).to_contain_text("Reply")
    await ask(page, "Two?")
    await expect(replies(page).last).to_have_text("Half")
    await page.keyboard.press("Escape")
    await expect(page.locator("#announcer")).to_contain_text("Stopped")
    await page.get_by_role("button", name="Answer again").last.click()
    await expect(page.locator("#announcer")).to_have_text("Reply: Two.")
    await page.get_by_role("button", name="Previous version").click()
    await expect(page.locator("#announcer")).to_have_text("Version 1 of 2.")
    answering = "The model is answering."
    said = [
        answering,
        f"Reply: {'word ' * 30}",
        answering,
        "Stopped: Half",
        answering,
        "Reply: Two.",
        "Version 1 of 2.",
    ]
    assert await page.evaluate("window.said") == said
    await ask(page, "Three?")
    # What counts down in an alert is not read with each second.
    await expect(page.get_by_role("button", name="Try again")).to_have_attribute("aria-live", "off")


async def test_the_keyboard_is_somewhere_sensible_after_what_it_was_on_is_gone(served: Served, page: Any) -> None:
    field = page.locator("#field")
    for text in ("Keys, the first", "Keys, the second"):
        await page.get_by_role("button", name="New chat").first.click()
        await ask(page, text)
        await expect(page.locator(".stats")).to_be_visible()
    await page.get_by_role("button", name="Edit and ask again").press("Enter")
    await page.get_by_label("Your message").press("Escape")
    await expect(page.get_by_role("button", name="Edit and ask again")).to_be_focused()
    lines = page.locator("#conversations li")
    below = await lines.nth(2).get_by_role("link").text_content() if await lines.count() > 2 else None
    await lines.filter(has_text="Keys, the first").get_by_role("link").press("Delete")
    await page.get_by_role("dialog").get_by_role("button", name="Delete").press("Enter")
    await expect(lines.filter(has_text="Keys, the first")).to_have_count(0)
    other = lines.get_by_role("link", name=below or "Keys, the second").first
    await expect(other).to_be_focused()
    await lines.filter(has_text="Keys, the second").get_by_role("link").press("Delete")
    await page.get_by_role("dialog").get_by_role("button", name="Delete").press("Enter")
    await expect(field).to_be_focused()  # it was the open one
    await page.get_by_role("button", name="Find ideas").press("Enter")
    await expect(field).to_be_focused()
    await expect(field).to_have_value("Give me ten ideas for ")
