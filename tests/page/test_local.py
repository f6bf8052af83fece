"""The page with the model that comes along."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.page.conftest import PATIENCE_MS, ask
from tests.program import data_dir_with_models, running


async def test_a_newcomer_gets_a_reply(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> None:
    async with running(data_dir_with_models(tmp_path_factory)) as program:
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(f"{program.http}/")
        await expect(page.get_by_label("Model")).to_have_value("smollm2")
        await ask(page, "Say hello.")
        await expect(page.locator(".stats")).to_contain_text("tokens/s")
        await expect(page.locator(".turn.reply .prose")).not_to_be_empty()
        await page.close()
