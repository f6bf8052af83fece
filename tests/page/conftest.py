"""The page in a real browser, on a real server whose model is scripted."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    async_playwright,
    expect,
)

from tests.conftest import ROOT
from tests.fakeprov import Behaviour, Exchange, Provider, behaviours
from tests.program import Program, running

SETTINGS = """
[local]
enabled = false
[endpoints.fake]
base_url = "{base_url}"
first_byte_s = 600
idle_s = 600
[models.fable]
endpoint = "fake"
images = true
default = true
[models.other]
endpoint = "fake"
"""
QUIET = [
    # Nobody else is asked, should a mistake try: looking at each request here would make each page load twice as slow.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
]
#: Long enough on a busy machine; nothing is measured with it.
PATIENCE_MS = 30_000
AXE = ROOT / ".tools" / "page" / "node_modules" / "axe-core" / "axe.min.js"

expect.set_options(timeout=PATIENCE_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the page's own patience end before a test's: what is cut off in the loop takes all later tests along."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(300))


@asynccontextmanager
async def chromium() -> AsyncGenerator[Browser]:
    """A browser, driven by a process of its own."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium: on Debian, apt install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        await browser.close()


# For this folder and not for all: the loop that a fixture of the session keeps is then that of every later test. To be
# made anew elsewhere, not imported: the scope of an imported one is the session.
@pytest.fixture(scope="package")
async def browser() -> AsyncGenerator[Browser]:
    async with chromium() as browser:
        yield browser


@dataclass
class Served:
    """A server and the provider behind it, whose behaviour a test chooses."""

    program: Program
    provider: Provider
    url: str

    def behave(self, behaviour: Behaviour) -> None:
        """Do so from now on, and close each connection after it: one that is kept would look like a leak."""

        async def behave(exchange: Exchange) -> None:
            await behaviour(exchange)
            exchange.finish()

        self.provider.behaviour = behave


@pytest.fixture(scope="package")
async def started(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> AsyncGenerator[Served]:
    """One server for all tests: each has a browser profile of its own, and looks at no conversation but its own."""
    async with Provider(behaviours.reply()) as provider:
        settings = SETTINGS.format(base_url=provider.base_url)
        async with running(tmp_path_factory.mktemp("page"), settings) as program:
            yield Served(program, provider, f"{program.http}/")


@pytest.fixture
async def served(started: Served) -> Served:
    for past in (started.provider.requests, started.provider.connections, started.provider.errors):
        past.clear()
    started.provider.asked.clear()
    started.behave(behaviours.reply(["Hel", "lo", "."]))
    return started


@dataclass
class Guard:
    """What the page did that no test asked for."""

    url: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    allowed: tuple[str, ...] = ()
    """What the browser may complain of, because the test wants it."""

    def watch(self, page: Page) -> None:
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("dialog", self._dismiss)
        page.on("popup", lambda popup: self.complaints.append(f"popup: {popup.url}"))
        page.on("console", self._hear)

    def _hear(self, said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"}:
            self.complaints.append(said.text)

    async def _dismiss(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def check(self) -> None:
        own = urlsplit(self.url).netloc
        asked = [urlsplit(url) for url in self.requests]
        assert [url for url in asked if url.scheme in {"http", "https", "ws", "wss"} and url.netloc != own] == []
        assert [text for text in self.complaints if not any(word in text for word in self.allowed)] == []


Open = Callable[..., Awaitable[Page]]


@pytest.fixture
async def guard(served: Served) -> AsyncGenerator[Guard]:
    guard = Guard(served.url)
    yield guard
    guard.check()


@pytest.fixture
async def opened(browser: Browser, served: Served, guard: Guard) -> AsyncGenerator[Open]:
    """Opens the page, in a profile of its own, or in that of another page."""
    async with AsyncExitStack() as stack:

        async def open_page(path: str = "", *, beside: Page | None = None, **options: Any) -> Page:
            context: BrowserContext
            if beside is None:
                context = await browser.new_context(**{"reduced_motion": "reduce", **options})
                stack.push_async_callback(context.close)
                context.set_default_timeout(PATIENCE_MS)
            else:
                context = beside.context
            page = await context.new_page()
            guard.watch(page)
            await page.goto(served.url + path)
            return page

        yield open_page


@pytest.fixture
async def page(opened: Open) -> Page:
    return await opened()


async def ask(page: Page, text: str) -> None:
    """Type a message and send it."""
    field_ = page.get_by_label("Message", exact=True).and_(page.locator("textarea"))
    await field_.fill(text)
    await field_.press("Enter")


async def create(page: Page, conversation_id: str, messages: Sequence[Any], title: str = "") -> None:
    """Keep a conversation as a program would, and open it."""
    await page.evaluate(
        """async ([conversationId, messages, title]) => {
          const {unary} = await import("/js/connect.js");
          await unary("ConversationService/CreateConversation", {conversationId, messages, title});
          location.hash = conversationId;
        }""",
        [conversation_id, messages, title],
    )


def replies(page: Page) -> Any:
    return page.locator(".turn.reply .prose")


async def axe(page: Page) -> list[str]:
    """What the accessibility checker has to say of the page as it is now."""
    if not AXE.exists():
        pytest.skip("axe-core is missing: run `make page-packages`")
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [f"{each['id']}: {[node['target'] for node in each['nodes']]}" for each in found["violations"]]
