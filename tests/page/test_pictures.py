"""Pictures on the page: in by paste, drop and choice, shown again, and refused where they cannot be sent."""

from __future__ import annotations

import base64
import json
from typing import Any

from playwright.async_api import expect

from tests.imaging.corpus import drawn
from tests.page.conftest import Guard, Open, Served, ask, replies

#: Gives the page a file in the way that a browser does, by paste or by drop.
GIVE = """
([how, name, type, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, {type}));
  const target = document.querySelector("#field");
  const manner = {bubbles: true, cancelable: true};
  if (how === "paste") target.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, ...manner}));
  else for (const step of ["dragenter", "dragover", "drop"])
    target.dispatchEvent(new DragEvent(step, {dataTransfer: data, ...manner}));
}
"""
#: A picture of noise, as large as a file may not be, which a smaller one can be made of.
LARGE = """
async () => {
  const canvas = new OffscreenCanvas(1400, 1200);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(1400, 1200);
  for (let at = 0; at < pixels.data.length; at += 65536)
    crypto.getRandomValues(pixels.data.subarray(at, Math.min(at + 65536, pixels.data.length)));
  for (let at = 3; at < pixels.data.length; at += 4) pixels.data[at] = 255;
  context.putImageData(pixels, 0, 0);
  const blob = await canvas.convertToBlob({type: "image/png"});
  const data = new DataTransfer();
  data.items.add(new File([blob], "noise.png", {type: "image/png"}));
  document.querySelector("#file").files = data.files;
  document.querySelector("#file").dispatchEvent(new Event("change"));
  return blob.size;
}
"""


async def give(page: Any, how: str, data: bytes, name: str = "dot.png", kind: str = "image/png") -> None:
    await page.evaluate(GIVE, [how, name, kind, base64.b64encode(data).decode()])


def sent(served: Served) -> list[Any]:
    """The parts of the last message that the model was sent."""
    content = served.provider.requests[-1].json()["messages"][-1]["content"]
    assert isinstance(content, list), content
    return content


async def test_pictures_come_by_paste_drop_and_choice_and_are_shown_again(
    served: Served, page: Any, opened: Open
) -> None:
    await give(page, "paste", drawn("PNG"), "pasted.png")
    await expect(page.locator("#tray img")).to_have_count(1)
    await give(page, "drop", drawn("JPEG"), "dropped.jpg", "image/jpeg")
    await expect(page.locator("#tray img")).to_have_count(2)
    chosen = {"name": "chosen.webp", "mimeType": "image/webp", "buffer": drawn("WEBP")}
    await page.locator("#file").set_input_files([chosen])
    await expect(page.locator("#tray img")).to_have_count(3)
    await page.get_by_role("button", name="Remove dropped.jpg").click()
    await expect(page.locator("#tray img")).to_have_count(2)
    await ask(page, "What is this?")
    await expect(replies(page)).to_have_text("Hello.")
    parts = sent(served)
    assert [part["type"] for part in parts].count("image_url") == 2
    assert base64.b64encode(drawn("PNG")).decode() in json.dumps(parts)
    await page.reload()
    pictures = page.locator(".turn.user img.picture")
    await expect(pictures).to_have_count(2)
    for at in range(2):
        await expect(pictures.nth(at)).to_have_js_property("complete", True)
        await expect(pictures.nth(at)).not_to_have_js_property("naturalWidth", 0)
    await page.get_by_role("button", name="Edit and ask again").click()
    await page.get_by_label("Your message").fill("And what is that?")
    await page.keyboard.press("Enter")
    await expect(page.locator(".turn.user .versions")).to_contain_text("2/2")
    await expect(replies(page)).to_have_text("Hello.")
    assert [part["type"] for part in sent(served)].count("image_url") == 2  # an edited message keeps them


async def test_a_picture_alone_is_a_message(served: Served, page: Any) -> None:
    await expect(page.get_by_role("button", name="Send")).to_be_disabled()
    await give(page, "paste", drawn("PNG"))
    await page.get_by_role("button", name="Send").click()
    await expect(replies(page)).to_have_text("Hello.")
    assert [part["type"] for part in sent(served)] == ["image_url"]


async def test_what_is_no_picture_is_refused_by_name(served: Served, page: Any) -> None:
    await give(page, "drop", b"hello", "note.txt", "text/plain")
    await expect(page.locator("#notice")).to_have_text("“note.txt” is no picture.")
    await give(page, "drop", b"hello", "bad.bmp", "image/bmp")
    await expect(page.locator("#notice")).to_contain_text("“bad.bmp” cannot be read as a picture.")
    await expect(page.locator("#tray img")).to_have_count(0)


async def test_a_picture_above_4_mib_is_made_smaller(served: Served, page: Any) -> None:
    assert await page.evaluate(LARGE) > 4 * 1024 * 1024
    await expect(page.locator("#tray img")).to_have_count(1)
    await ask(page, "Noise?")
    await expect(replies(page)).to_have_text("Hello.")
    (picture,) = [part for part in sent(served) if part["type"] == "image_url"]
    assert picture["image_url"]["url"].startswith("data:image/webp")


async def test_a_model_that_cannot_see_says_so(served: Served, guard: Guard, page: Any) -> None:
    guard.allowed = ("400", "501")
    await page.get_by_label("Model").select_option("other")
    await give(page, "paste", drawn("PNG"))
    await ask(page, "What is this?")
    await expect(page.get_by_role("alert").filter(has_text="That did not work")).to_contain_text("image")
    assert served.provider.requests == []
