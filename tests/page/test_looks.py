"""The page for those who do not see it, have no mouse, or little room; and in every state that it can be in."""

from __future__ import annotations

from typing import Any

from playwright.async_api import expect

from tests.fakeprov.behaviours import in_turn, reply, stalled, status
from tests.page.conftest import Guard, Open, Served, ask, axe, replies

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


async def test_whoever_reads_above_is_not_carried_away_by_what_comes(served: Served, page: Any) -> None:
    served.behave(in_turn(reply(["line\n\n"] * 80), stalled(["more\n\n"] * 40)))
    await ask(page, "Much")
    await expect(page.locator(".prose > p")).to_have_count(80)
    scroller = page.locator("#scroller")
    end = "each => each.scrollHeight - each.scrollTop - each.clientHeight < 2"
    assert await scroller.evaluate(end)
    await ask(page, "More")
    await expect(page.locator(".prose > p")).to_have_count(120)
    assert await scroller.evaluate(end)
    await scroller.evaluate("each => { each.scrollTop = 0 }")
    down = page.get_by_role("button", name="To the latest")
    await expect(down).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator(".cut")).to_be_visible()
    assert await scroller.evaluate("each => each.scrollTop") == 0
    await down.click()
    await expect(down).to_be_hidden()
