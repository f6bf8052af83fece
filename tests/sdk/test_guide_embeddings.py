"""The guide's embeddings, in its own spelling."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Generator
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest

from stepwire import Client, errors, guide
from stepwire.guide import AbortController, AbortError, Embeddings, ModelInfo
from tests.sdk.refusing import refuse
from tests.sdk.scripted import Server
from tests.sdk.stepping import HANG_S, Heard

DOCUMENTS = ["A kitten sleeps all day", "The market fell", "Shares were sold at a loss"]


@pytest.fixture
def embeddings(blocking: Client) -> Embeddings:
    return Embeddings(blocking)


@pytest.fixture(scope="module")
def real(real_target: str) -> Generator[Embeddings]:
    with Client(real_target) as client:
        client.list_steps()  # the connection belongs to all tests
        yield Embeddings(client)


def hanging(server: Server) -> tuple[threading.Event, threading.Event]:
    """Let no text ever become a vector; what is set when one is asked for, and when that was cancelled."""
    begun, ended = threading.Event(), threading.Event()

    async def hang(request: Any, context: Any) -> Any:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    server.on["Embed"] = hang
    return begun, ended


def told_by(start: Callable[[dict[str, Any]], Callable[[], None]], *, cancels: bool = False) -> list[Any]:
    """What the callbacks are told until the last of them."""
    heard = Heard()
    cancel = start(
        {
            "onSuccess": lambda vector: heard.note(vector.tolist()),
            "onError": lambda error: heard.note(error.reason),
            "onCancel": lambda: heard.note("cancel"),
            "onDone": heard.end,
        }
    )
    if cancels:
        cancel()
        cancel()
    assert heard.done.wait(HANG_S)
    return heard.log


def cosine_similarity(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """As the guide has it."""
    dot = norm_a = norm_b = 0.0
    for x, y in zip(a, b, strict=True):
        dot, norm_a, norm_b = dot + x * y, norm_a + x * x, norm_b + y * y
    return float(dot / (norm_a**0.5 * norm_b**0.5))


async def test_the_semantic_search_of_the_guide(real: Embeddings) -> None:
    model = real.getModel()
    assert isinstance(model, ModelInfo)
    assert await real.getModelAsync() == model
    assert model.name
    wanted = await real.generateEmbeddingAsync("cats")
    assert wanted.dtype == np.float32
    assert wanted.shape == (model.dimensions,)
    assert wanted.nbytes == model.dimensions * 4
    found = await asyncio.gather(*(real.generateEmbeddingAsync(text) for text in DOCUMENTS))
    similarities = [cosine_similarity(wanted, each) for each in found]
    assert similarities.index(max(similarities)) == 0
    assert np.array_equal(real.generateEmbedding(DOCUMENTS[1]), found[1])


def test_a_blank_text_is_refused_in_each_form(real: Embeddings) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        real.generateEmbedding("")
    assert caught.value.reason == "INVALID_INPUT_TEXT"
    assert told_by(lambda callbacks: real.generateEmbeddingWithCallbacks("", callbacks)) == [
        "INVALID_INPUT_TEXT",
        "done",
    ]


async def test_one_failure_fails_a_batch(real: Embeddings) -> None:
    with pytest.raises(errors.InvalidRequest):
        await asyncio.gather(*(real.generateEmbeddingAsync(text) for text in ("a", " ", "b")))


def test_callbacks_are_told_a_vector_and_then_the_end(embeddings: Embeddings) -> None:
    start = embeddings.generateEmbeddingWithCallbacks
    length = embeddings.getModel().dimensions
    assert told_by(lambda callbacks: start("abc", callbacks)) == [[3.0] * length, "done"]
    assert told_by(lambda callbacks: start("ab", {**callbacks, "onResult": callbacks.pop("onSuccess")}))[0][0] == 2.0
    start("abc")()  # nobody has to listen
    assert embeddings.generateEmbedding("abcd")[0] == 4.0


def test_a_callback_that_is_unknown_or_would_not_be_awaited_is_refused(embeddings: Embeddings) -> None:
    async def late(_: Any) -> None: ...

    with pytest.raises(TypeError, match="`onsuccess` is no option"):
        embeddings.generateEmbeddingWithCallbacks("abc", {"onsuccess": print})
    for name in ("onSuccess", "onError"):
        with pytest.raises(TypeError, match="is a coroutine function"):
            embeddings.generateEmbeddingWithCallbacks("abc", {name: late})


def test_cancel_ends_the_call_and_is_told_before_the_end(embeddings: Embeddings, far_server: Server) -> None:
    begun, ended = hanging(far_server)

    def start(callbacks: dict[str, Any]) -> Callable[[], None]:
        cancel = embeddings.generateEmbeddingWithCallbacks("abc", callbacks)
        assert begun.wait(HANG_S)
        return cancel

    assert told_by(start, cancels=True) == ["cancel", "done"]
    assert ended.wait(HANG_S)


async def test_a_signal_ends_the_call(embeddings: Embeddings, far_server: Server) -> None:
    begun, ended = hanging(far_server)
    controller = AbortController()
    running = asyncio.create_task(embeddings.generateEmbeddingAsync("abc", {"signal": controller.signal}))
    assert await asyncio.to_thread(begun.wait, HANG_S)
    controller.abort()
    with pytest.raises(AbortError) as caught:
        await running
    assert caught.value.name == "AbortError"
    assert await asyncio.to_thread(ended.wait, HANG_S)
    with pytest.raises(AbortError):
        await embeddings.getModelAsync({"signal": controller.signal})
    with pytest.raises(TypeError, match="`timeout` is no option"):
        await embeddings.generateEmbeddingAsync("abc", {"timeout": 1})


@pytest.mark.parametrize("wrong", [42, None, ["a"]])
async def test_what_is_no_text_is_not_made_one(embeddings: Embeddings, far_server: Server, wrong: Any) -> None:
    with pytest.raises(errors.InvalidRequest, match="is no text"):
        embeddings.generateEmbedding(wrong)
    with pytest.raises(errors.InvalidRequest, match="is no text"):
        await embeddings.generateEmbeddingAsync(wrong)
    heard = await asyncio.to_thread(
        told_by, lambda callbacks: embeddings.generateEmbeddingWithCallbacks(wrong, callbacks)
    )
    assert heard == ["INVALID_INPUT_TEXT", "done"]
    assert far_server.script.calls == []


def test_handlers_of_the_guide_find_the_words_they_look_for(embeddings: Embeddings, far_server: Server) -> None:
    async def limited(request: Any, context: Any) -> None:
        message = "the provider's rate limit is reached"
        facts: dict[str, Any] = {"reason": "PROVIDER_RATE_LIMITED", "retry_after_s": 9.0, "pushback_ms": -1}
        await refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, message, **facts)

    far_server.on["Embed"] = limited
    with pytest.raises(errors.Throttled) as caught:
        embeddings.generateEmbedding("abc")
    error = caught.value
    assert (error.includes("rate limit"), error.includes("context length")) == (True, False)
    assert (error.isTransient, error.name) == (True, "StepwireError")
    assert errors.Cancelled("x", code="CANCELLED").name == "AbortError"
    assert errors.InvalidRequest("x").isTransient is False


def test_the_example_of_the_module_runs(real_target: str, capsys: pytest.CaptureFixture[str]) -> None:
    [example] = re.findall(r"(?s)\n\n(from .*?)\n\nEvery", guide.__doc__ or "")
    with Client(real_target) as client:
        exec(example, {"client": client})
    prompt, doubled, embedding, *_ = capsys.readouterr().out.splitlines()
    assert (prompt, doubled) == ("Hello", "[2, 4, 6]")
    assert "[" in embedding
