"""What the page is made of: its own files and one of others, all of them small, none of them from elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.conftest import ROOT
from tests.page.conftest import Guard

PAGE = ROOT / "service" / "stepwired" / "web" / "page"
PACKAGE = ROOT / ".tools" / "page" / "node_modules" / "marked"
OURS = sorted(
    path for path in PAGE.rglob("*") if path.suffix in {".js", ".css", ".html"} and "vendor" not in path.parts
)

#: What would parse text as HTML, or run it.
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|\beval\b"
    r"|new Function|srcdoc|\son\w+=|style=|<style|[\"'`]javascript:"
)


@pytest.mark.parametrize(("ours", "theirs"), [("marked.esm.js", "lib/marked.esm.js"), ("marked.LICENSE", "LICENSE")])
def test_what_is_shipped_of_others_is_what_they_published(ours: str, theirs: str) -> None:
    if not PACKAGE.exists():
        pytest.skip("marked is missing: run `make page-packages`")
    assert (PAGE / "vendor" / ours).read_bytes() == (PACKAGE / theirs).read_bytes(), "run `make page`"


def test_the_lock_names_no_registry() -> None:
    lock = json.loads((ROOT / "tests" / "page" / "package-lock.json").read_text(encoding="utf-8"))
    packages = [package for name, package in lock["packages"].items() if name]
    assert packages
    assert all("resolved" not in package and package["integrity"].startswith("sha512-") for package in packages)


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(PAGE)))
def test_no_file_of_the_page_can_parse_html_or_asks_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert FORBIDDEN.findall(text) == []
    assert set(re.findall(r"https?://[^\s\"'`]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert path.suffix == ".css" or len(text.splitlines()) <= 300


async def test_the_page_is_small_and_keeps_to_its_own_server(guard: Guard, page: Any) -> None:
    await expect(page.locator("#model option").first).to_have_text("fable")
    sizes = await page.evaluate(
        "performance.getEntries().filter((each) => each.transferSize !== undefined).map((each) => each.transferSize)"
    )
    assert len(guard.requests) <= 40
    assert sum(sizes) <= 100_000
