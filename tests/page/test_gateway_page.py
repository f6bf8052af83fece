"""A page that is opened from disk reads the HTTP front with the loop of the reference gateway's page.

`STEPWIRE_REFERENCE` names the folder of the original, which is then opened too, but for the address byte for byte.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.fakeprov import Provider
from tests.fakeprov.behaviours import reply
from tests.page.conftest import SETTINGS
from tests.program import running

ADDRESS = "http://localhost:8080"
RUNS = 20
TOKENS = [f"{word} " for word in ("Ein", "größerer", "\u2028", "Text", "🚀", '"quoted"', "\\n") * 40] + ["end."]

OURS = """<!doctype html>
<title>From disk</title>
<input id="user-input"><button id="send-button">Send</button><div id="chat"></div>
<script>
  async function ask(prompt) {
    const shown = document.getElementById("chat").appendChild(document.createElement("p"));
    shown.className = "assistant-message";
    try {
      const answer = await fetch("http://localhost:8080/v1/chat/completions", {
        method: "POST",
        headers: { Authorization: "Bearer sk-any", "Content-Type": "application/json" },
        body: JSON.stringify({ model: "gpt-4", stream: true, messages: [{ role: "user", content: prompt }] }),
      });
      const reader = answer.body.getReader();
      const decoder = new TextDecoder();  // neither text nor lines are kept for the next read
      for (let read = await reader.read(); !read.done; read = await reader.read()) {
        for (const line of decoder.decode(read.value).split("\\n")) {
          if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
          try {
            shown.textContent += JSON.parse(line.slice(6)).choices[0]?.delta?.content ?? "";
          } catch {
            // half an event
          }
        }
      }
    } catch (error) {
      shown.textContent = `Error: ${error.message}`;
    }
  }
  document.getElementById("send-button").onclick = () => ask(document.getElementById("user-input").value);
</script>
"""


def original() -> dict[str, str]:
    """The reference's page; nothing without it."""
    folder = os.environ.get("STEPWIRE_REFERENCE")
    if not folder:
        return {}
    text = (Path(folder) / "synaxis-streaming-javascript.md").read_text()
    [page] = re.findall(r"^```html\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return {"original": page}


PAGES = {"ours": OURS, **original()}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("allowed", [True, False], ids=["allowed", "not allowed"])
async def test_a_page_from_disk_shows_every_token_where_its_origin_is_allowed(
    browser: Browser, tmp_path: Path, name: str, allowed: bool
) -> None:
    origins = '\n[web]\nallow_origins = ["null"]\n' if allowed else ""
    async with Provider(reply(TOKENS)) as provider:
        settings = SETTINGS.format(base_url=provider.base_url) + 'aliases = ["gpt-4"]' + origins
        async with running(tmp_path, settings) as program:
            file = tmp_path / "page.html"
            assert PAGES[name].count(ADDRESS) == 1
            file.write_text(PAGES[name].replace(ADDRESS, program.http))
            page = await browser.new_page()
            try:
                await page.goto(file.as_uri())
                shown = page.locator(".assistant-message")
                for run in range(RUNS if allowed else 1):
                    await page.fill("#user-input", "hi")
                    await page.click("#send-button")
                    expected = "".join(TOKENS) if allowed else "Error: Failed to fetch"
                    await expect(shown.nth(run)).to_have_js_property("textContent", expected)
            finally:
                await page.close()
    assert len(provider.requests) == (RUNS if allowed else 0)
