"""Callbacks come one at a time, in order; `on_cancel` and `on_done` once each, whatever races."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from stepwire import AsyncClient, Client, errors
from tests.sdk.refusing import refuse
from tests.sdk.scripted import Server, for_ever

HANG_S = 10.0


class Heard:
    """Writes down which callback was called, and notices if two overlap."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.errors: list[errors.Error] = []
        self.threads: set[int] = set()
        self.first, self.done = threading.Event(), threading.Event()
        self._busy = threading.Lock()

    def note(self, what: str) -> None:
        assert self._busy.acquire(blocking=False), "two callbacks at once"
        self.threads.add(threading.get_ident())
        self.log.append(what)
        self._busy.release()
        self.first.set()

    def start(self, client: Client, call: Callable[[AsyncClient], Any]) -> Callable[[], None]:
        def failed(error: errors.Error) -> None:
            self.errors.append(error)
            self.note("error")

        def ended() -> None:
            self.note("done")
            self.done.set()

        return client.start_with_callbacks(
            call,
            lambda _: self.note("result"),
            on_error=failed,
            on_done=ended,
            on_cancel=lambda: self.note("cancel"),
        )


def test_a_stream_is_told_result_by_result(blocking: Client) -> None:
    heard = Heard()
    heard.start(blocking, lambda api: api.stream_chat("hi"))
    assert heard.done.wait(HANG_S)
    assert heard.log == ["result"] * 4 + ["done"]


def test_a_call_that_is_no_stream_has_one_result(blocking: Client) -> None:
    heard = Heard()
    heard.start(blocking, lambda api: api.chat("hi"))
    assert heard.done.wait(HANG_S)
    assert heard.log == ["result", "done"]


def test_cancel_is_told_once_and_then_done(blocking: Client, far_server: Server) -> None:
    far_server.on["StreamChat"] = for_ever
    heard = Heard()
    cancel = heard.start(blocking, lambda api: api.stream_chat("hi"))
    assert heard.first.wait(HANG_S)
    for _ in range(3):
        cancel()
    assert heard.done.wait(HANG_S)
    assert far_server.script.ended.wait(HANG_S)
    blocking.close()  # so that nothing can come any more
    assert heard.log[-2:] == ["cancel", "done"]
    assert heard.log.count("cancel") == heard.log.count("done") == 1


def test_cancelling_before_anything_happened_is_told_too(blocking: Client, far_server: Server) -> None:
    far_server.on["StreamChat"] = for_ever
    for _ in range(50):
        heard = Heard()
        heard.start(blocking, lambda api: api.stream_chat("hi"))()
        assert heard.done.wait(HANG_S)
        assert heard.log == ["cancel", "done"]


def test_cancelling_what_is_over_changes_nothing(blocking: Client) -> None:
    heard = Heard()
    cancel = heard.start(blocking, lambda api: api.chat("hi"))
    assert heard.done.wait(HANG_S)
    cancel()
    blocking.close()
    assert heard.log == ["result", "done"]


def test_however_cancel_and_end_race_each_is_told_once(blocking: Client) -> None:
    for _ in range(100):
        heard = Heard()
        cancel = heard.start(blocking, lambda api: api.stream_chat("hi"))
        heard.first.wait(HANG_S)
        cancel()
        assert heard.done.wait(HANG_S)
        assert heard.log[-1] == "done"
        assert heard.log.count("done") == 1
        assert heard.log.count("cancel") <= 1
        if "cancel" in heard.log:
            assert heard.log[-2] == "cancel"


def test_cancelling_from_within_a_callback_works(blocking: Client, far_server: Server) -> None:
    far_server.on["StreamChat"] = for_ever
    log: list[str] = []
    ready, done = threading.Event(), threading.Event()
    cancel: Callable[[], None]

    def on_result(_: object) -> None:
        ready.wait(HANG_S)
        log.append("result")
        cancel()

    cancel = blocking.start_with_callbacks(
        lambda api: api.stream_chat("hi"), on_result, on_cancel=lambda: log.append("cancel"), on_done=done.set
    )
    ready.set()
    assert done.wait(HANG_S)
    assert log == ["result", "cancel"]


def test_a_failed_call_is_told_as_an_error(blocking: Client, far_server: Server) -> None:
    async def fails(request: Any, context: Any) -> Any:
        await refuse(context, grpc.StatusCode.NOT_FOUND, reason="MODEL_NOT_FOUND")

    far_server.on["Chat"] = fails
    heard = Heard()
    heard.start(blocking, lambda api: api.chat("hi"))
    assert heard.done.wait(HANG_S)
    assert heard.log == ["error", "done"]
    assert isinstance(heard.errors[0], errors.NotFound)


def test_an_item_that_failed_does_not_end_the_stream(blocking: Client) -> None:
    heard = Heard()
    heard.start(blocking, lambda api: api.run([{"map": {"step": {"named": "upper"}}}], ["a", 1, "c"]))
    assert heard.done.wait(HANG_S)
    assert heard.log == ["result", "error", "result", "done"]


def test_closing_the_client_cancels_and_tells(blocking: Client, far_server: Server) -> None:
    far_server.on["StreamChat"] = for_ever
    heard = Heard()
    heard.start(blocking, lambda api: api.stream_chat("hi"))
    assert heard.first.wait(HANG_S)
    blocking.close()
    assert heard.log[-2:] == ["cancel", "done"]


def test_callbacks_of_all_calls_share_one_thread_and_may_block(blocking: Client) -> None:
    heard, nested = [Heard() for _ in range(8)], []
    for one in heard:
        one.start(blocking, lambda api: api.stream_chat("hi"))
    done = threading.Event()
    blocking.start_with_callbacks(
        lambda api: api.models(), lambda _: nested.append(str(blocking.chat("nested"))), on_done=done.set
    )
    assert all(one.done.wait(HANG_S) for one in heard)
    assert done.wait(HANG_S)
    assert nested == ["you said nested"]
    assert len(set.union(*(one.threads for one in heard))) == 1


def test_a_callback_that_raises_ends_its_call_and_is_logged(
    blocking: Client, far_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    far_server.on["StreamChat"] = for_ever
    log: list[str] = []
    done = threading.Event()

    def raises(_: object) -> None:
        raise ValueError("mine")

    with caplog.at_level(logging.ERROR, "stepwire"):
        blocking.start_with_callbacks(
            lambda api: api.stream_chat("hi"), raises, on_cancel=lambda: log.append("cancel"), on_done=done.set
        )
        assert done.wait(HANG_S)
    assert far_server.script.ended.wait(HANG_S)
    assert "mine" in caplog.text
    assert log == []


def test_a_call_that_cannot_be_made_is_logged(blocking: Client, caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()
    with caplog.at_level(logging.ERROR, "stepwire"):
        blocking.start_with_callbacks(lambda api: api.embed("lone"), lambda _: None, on_done=done.set)
        assert done.wait(HANG_S)
    assert "is a list" in caplog.text
