"""The TypeScript client in Chromium, on a page of another origin: over Connect, to a whole server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, Page, expect

from tests.clients.test_typescript import FOLDER, NODE, ran
from tests.clients.words import World, world
from tests.e2e.conftest import SCRIPTED
from tests.page import conftest as pages
from tests.program import HANG_S

HERE = FOLDER / "test" / "browser"


@pytest.fixture(scope="module")
async def browser() -> AsyncGenerator[Browser]:
    async with pages.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
async def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The page's script with the package in it."""
    if not NODE.exists() or not (FOLDER / "dist" / "index.js").exists():
        pytest.skip("the TypeScript client is not built: run `make client-typescript`")
    file = tmp_path_factory.mktemp("bundle") / "page.js"
    esbuild = ["node_modules/.bin/esbuild", "test/browser/page.ts", "--bundle", "--format=esm", f"--outfile={file}"]
    status, said = await ran(NODE, *esbuild)
    assert status == 0, said
    return file.read_bytes()


@pytest.fixture(scope="module")
async def origin(bundle: bytes) -> AsyncGenerator[str]:
    """Where the page comes from: a server of its own, as a site that uses the package has one."""
    html = (HERE / "page.html").read_bytes()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
        kind, body = ("text/javascript", bundle) if path == b"/page.js" else ("text/html", html)
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory, origin: str) -> AsyncGenerator[World]:
    web = f'[web]\nhttp_port = 0\nallow_origins = ["{origin}"]\n'
    async with world(tmp_path_factory.mktemp("served"), SCRIPTED + web) as made:
        yield made


@pytest.fixture
async def page(browser: Browser, origin: str, served: World) -> AsyncGenerator[Page]:
    async with await browser.new_context() as context:
        context.set_default_timeout(pages.PATIENCE_MS)
        page = await context.new_page()
        await page.goto(f"{origin}/?server={quote(served.http)}")
        await page.wait_for_function("globalThis.client !== undefined")
        yield page


async def ask(page: Page, prompt: str) -> None:
    await page.get_by_label("question").fill(prompt)
    await page.get_by_role("button", name="Ask").click()


async def run(page: Page, body: str) -> Any:
    """Run JavaScript in the page, where `client` is connected."""
    return await asyncio.wait_for(page.evaluate(f"async () => {{ {body} }}"), HANG_S)


async def test_a_reply_is_streamed_into_the_page(page: Page) -> None:
    await ask(page, "say one two")
    await expect(page.locator("#state")).to_have_text("finished: stop")
    await expect(page.locator("#answer")).to_have_text("one two")


async def test_a_piece_is_there_before_the_reply_is_whole_and_stop_ends_the_call(page: Page, served: World) -> None:
    await ask(page, "stall please")
    await expect(page.locator("#answer")).to_have_text("Hello")
    await expect(page.locator("#state")).to_have_text("asked")
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator("#state")).to_have_text("stopped")
    await served.closed("stall please")


async def test_a_loop_that_is_left_ends_the_call(page: Page, served: World) -> None:
    left = "for await (const event of client.streamChat('stall left')) if (event.type === 'text') return event.text;"
    assert await run(page, left) == "Hello"
    await served.closed("stall left")


async def test_a_page_that_is_closed_ends_its_calls(page: Page, served: World) -> None:
    await ask(page, "stall closed")
    await expect(page.locator("#answer")).to_have_text("Hello")
    await page.close()
    await served.closed("stall closed")


async def test_an_error_says_in_the_page_what_it_says_elsewhere(page: Page) -> None:
    await ask(page, "limited")
    await expect(page.locator("#state")).to_have_text(
        "failed: PROVIDER_RATE_LIMITED: the rate limit of fake for fake was reached"
    )
    failed = """
        const error = await client.chat("limited").catch((error) => error);
        return [error.name, error.code, error.retryDelayMs, error.includes("rate limit"), error.isTransient];
    """
    assert await run(page, failed) == ["StepwireError", "RESOURCE_EXHAUSTED", 120_000, True, True]
    wrong = (
        "return client.chat('', {messages: [{role: 'banana', text: 'x'}]}).catch((error) => error.violations[0].field)"
    )
    assert await run(page, wrong) == "messages[0].role"


async def test_a_server_that_is_not_there_is_unavailable(page: Page) -> None:
    failed = "return connect('127.0.0.1:1').models().catch((error) => [error.code, error.isTransient])"
    assert await run(page, failed) == ["UNAVAILABLE", True]


async def test_the_guides_api_works_where_it_can_wait_and_gives_advice_where_it_cannot(page: Page) -> None:
    said = """
        const conv = new client.Conversation();
        const id = conv.AddMessage("user", "Hi", { metadata: { a: 1 } });
        conv.AddMessage("assistant", "Yes?");
        const [first] = await conv.getMessagesAsync();
        const advice = (() => { try { conv.GetMessages(); } catch (error) { return error.message; } })();
        conv.AddMessage("banana", "x");
        const refused = await conv.flush().catch((error) => error.reason);
        const prompt = await conv.getSinglePromptAsync();
        return [first.id === id, first.metadata.a, prompt, advice.includes("Async"), refused];
    """
    assert await run(page, said) == [True, 1, "[user]: Hi\n[assistant]: Yes?\n", True, "INVALID_MESSAGE"]


async def test_vectors_searches_and_runs_come_to_the_page(page: Page) -> None:
    said = """
        const [vector] = await client.embed(["abc"]);
        const [hit] = await client.search("q", ["a", "bb"]);
        const doubled = await client.run({ javascript: "(x) => x * 2" }, 4);
        return [vector instanceof Float32Array, [...vector], hit.text, [...doubled]];
    """
    assert await run(page, said) == [True, [3, 0, 0], "a", [8]]


async def test_a_watch_tells_changes_to_the_page(page: Page) -> None:
    said = """
        const conversation = await client.createConversation({ messages: ["Hi"] });
        const told = [];
        for await (const { revision, change } of conversation.watch({ afterRevision: 0 })) {
          told.push(`${revision} ${change.case}`);
          if (revision === 2n) await conversation.append("more");
          if (revision === 3n) return told;
        }
    """
    assert await run(page, said) == ["1 created", "2 messageAppended", "3 messageAppended"]


async def test_steps_run_for_the_page_and_functions_of_its_own_get_advice(page: Page, served: World) -> None:
    said = """
        const { steps, ChatStepFactory } = client;
        const results = await steps.createMapStep("upper").startAsync(["a", "b"]);
        const [reply] = await new ChatStepFactory().newStep().startAsync("say well");
        const served = await steps.createMapStep((x) => x).startAsync([1]).catch((error) => error.message);
        const blocked = (() => { try { steps.spread().startBlocking([]); } catch (error) { return error.message; } })();
        return [[...results], results.metadata.outcome, reply, served, blocked];
    """
    results, outcome, reply, served_here, blocked = await run(page, said)
    assert (results, outcome, reply) == (["A", "B"], "completed", "well ")
    assert "steps.javascript" in served_here
    assert "Async" in blocked
    cancelled = """
        const log = [];
        await new Promise((resolve) => {
            const step = new client.ChatStepFactory().newStep();
            const cancel = step.startWithCallbacks("stall steps", {
                onResult: (piece) => { log.push(piece); cancel(); },
                onCancel: () => log.push("cancel"),
                onDone: resolve,
            });
        });
        return log;
    """
    assert await run(page, cancelled) == ["Hello", "cancel"]
    await served.closed("stall steps")
