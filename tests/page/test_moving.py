"""Nothing on the page moves but what is meant to: who reads is left alone, and nothing is wider than the screen."""

from __future__ import annotations

import asyncio
from typing import Any

from playwright.async_api import expect

from tests.fakeprov.behaviours import in_turn, paused, reply, stalled, transcript
from tests.page.conftest import Open, Served, ask, create
from tests.page.test_looks import TEXT

#: Whether the end of the conversation is in view.
AT_END = """
() => {
  const {scrollHeight, scrollTop, clientHeight} = document.querySelector("#scroller");
  return scrollHeight - scrollTop - clientHeight < 2;
}
"""
PLACE = "document.querySelector('#scroller').scrollTop"


async def test_whoever_reads_above_is_not_carried_away_by_what_comes(served: Served, page: Any) -> None:
    served.behave(in_turn(reply(["line\n\n"] * 80), stalled(["more\n\n"] * 40)))
    await ask(page, "Much")
    await expect(page.locator(".prose > p")).to_have_count(80)
    await page.wait_for_function(AT_END)
    await ask(page, "More")
    await expect(page.locator(".prose > p")).to_have_count(120)
    await page.wait_for_function(AT_END)
    await page.locator("#scroller").hover()
    await page.mouse.wheel(0, -100_000)
    await page.wait_for_function(f"() => {PLACE} === 0")
    down = page.get_by_role("button", name="To the latest")
    await expect(down).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator(".cut")).to_be_visible()
    assert await page.evaluate(PLACE) == 0
    await down.click()
    await expect(down).to_be_hidden()
    await page.wait_for_function(AT_END)


async def test_one_step_upwards_is_enough_to_be_left_alone(served: Served, page: Any) -> None:
    release = asyncio.Event()
    body = transcript(["line\n\n"] * 80 + ["more\n\n"] * 80)
    served.behave(paused(body, body.index(b"more"), release))
    await ask(page, "Much")
    await expect(page.locator(".prose > p")).to_have_count(80)
    await page.wait_for_function(AT_END)
    end = await page.evaluate(PLACE)
    await page.locator("#scroller").hover()
    await page.mouse.wheel(0, -20)
    await page.wait_for_function(f"() => {PLACE} < {end}")
    release.set()
    await expect(page.locator(".prose > p")).to_have_count(160)
    await expect(page.locator(".stats")).to_be_visible()
    assert await page.evaluate(PLACE) < end


async def test_the_end_of_a_reply_moves_nothing(served: Served, page: Any) -> None:
    release = asyncio.Event()
    body = transcript([*["line\n\n"] * 30, TEXT])
    served.behave(paused(body, body.index(b'"stop"'), release))
    await ask(page, "What are foxes?")
    await expect(page.locator(".turn td")).to_have_count(2)
    await page.wait_for_function(AT_END)
    where = """() => {
      const all = [...document.querySelectorAll(".turn, .prose > *, #composer")];
      return [...all.map((each) => each.getBoundingClientRect().top), document.querySelector("#scroller").scrollHeight];
    }"""
    before = await page.evaluate(where)
    release.set()
    await expect(page.locator(".stats")).to_be_visible()
    assert await page.evaluate(where) == before


async def test_a_word_that_is_too_long_for_a_narrow_screen_makes_nothing_wider(opened: Open) -> None:
    page = await opened(viewport={"width": 390, "height": 780})
    name = "look_for_" + "something_" * 9
    messages = [
        {"text": "w" * 900},
        {"role": "assistant", "text": "v" * 900 + "\n\n`" + "c" * 200 + "`\n\n| " + "t" * 200 + " |\n|---|\n"},
        {"toolUse": {"toolId": "t", "name": name, "input": {"x": "i" * 300}}},
        {"role": "assistant", "text": "# " + "h" * 300 + "\n\n> " + "q" * 300 + "\n\n- " + "l" * 300},
    ]
    await create(page, "too-long", messages, title="T" * 150)
    await expect(page.locator("details.fold")).to_be_visible()
    await page.locator("details.fold summary").click()
    wide = "each => [...each.querySelectorAll('.turn, .turn *')].filter((one) => !one.closest('.table, pre'))"
    widest = await page.locator("#thread").evaluate(
        f"each => Math.max(...({wide})(each).map((one) => one.getBoundingClientRect().right))"
    )
    assert widest <= 390
