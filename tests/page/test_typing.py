"""Enter and Escape mean what the person sees: not the words before, and not those that an input method composes."""

from __future__ import annotations

import re
from typing import Any

from playwright.async_api import Page, expect

from tests.page.conftest import ask, replies

#: A key that an input method takes for itself.
COMPOSE = "(each, key) => each.dispatchEvent(new KeyboardEvent('keydown', {key, isComposing: true, bubbles: true}))"


async def said(page: Page, text: str) -> None:
    await page.get_by_role("button", name="New chat").first.click()
    await ask(page, text)
    await expect(replies(page)).to_have_text("Hello.")
    await expect(page.locator(".stats")).to_be_visible()


async def test_enter_opens_what_was_searched_for_last(page: Page) -> None:
    await said(page, "Apples of the searcher")
    await said(page, "Bananas of the searcher")
    await page.keyboard.press("Control+k")
    field = page.get_by_role("combobox", name="Search all messages")
    await field.fill("apples searcher")
    await expect(page.locator("#hits li").first).to_contain_text("Apples")
    await page.evaluate(
        """() => {
          const field = document.querySelector("#search-field");
          field.value = "bananas searcher";
          field.dispatchEvent(new InputEvent("input"));
          field.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true}));
        }"""
    )
    await expect(page.locator("#search")).to_be_hidden()
    await expect(page.locator("#title")).to_have_text("Bananas of the searcher")
    await expect(page.locator(".turn.user")).to_have_text(re.compile("Bananas"))


async def test_enter_of_an_input_method_ends_no_rename(page: Any) -> None:
    await said(page, "Composed by a method")
    await page.locator("#conversations li", has_text="Composed by a method").get_by_role("link").press("F2")
    field = page.get_by_label("New name")
    await field.fill("Half a w")
    await field.evaluate(COMPOSE, "Enter")
    await expect(field).to_have_value("Half a w")
    await field.press("Enter")
    await expect(page.locator("#title")).to_have_text("Half a w")


async def test_escape_of_an_input_method_leaves_no_editor(page: Any) -> None:
    await said(page, "Edited with a method")
    await page.get_by_role("button", name="Edit and ask again").click()
    field = page.get_by_label("Your message")
    await field.fill("Half a w")
    await field.evaluate(COMPOSE, "Escape")
    await expect(field).to_have_value("Half a w")
