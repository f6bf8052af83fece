"""The blocking face: the same calls, from any thread, and an end to each when its caller leaves."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from stepwire import AsyncClient, Client, errors
from tests.sdk.refusing import refuse
from tests.sdk.scripted import Server, for_ever

HANG_S = 10.0

PUBLIC = [name for name, _ in inspect.getmembers(AsyncClient, inspect.isfunction) if not name.startswith("_")]


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "close"])
def test_the_blocking_client_has_each_call_and_describes_it(name: str) -> None:
    method = getattr(Client, name)
    assert method.__name__ == name
    assert "await " not in method.__doc__
    assert "async for" not in method.__doc__
    assert not inspect.iscoroutinefunction(method)


def test_calls_wait_and_streams_are_iterated(blocking: Client) -> None:
    assert str(blocking.chat("hi")) == "you said hi"
    assert "".join(event.text for event in blocking.stream_chat("hi")) == "you said hi"
    assert blocking.embed(["a"]).shape == (1, 8)
    assert [result.value for result in blocking.run("upper", "a")] == ["A"]
    conversation = blocking.create_conversation(messages=["hi"])
    assert [message.text for message in blocking.messages(conversation.id)] == ["hi"]


def test_failures_are_errors_of_our_own(blocking: Client, far_server: Server) -> None:
    async def fails(request: Any, context: Any) -> Any:
        import grpc

        await refuse(context, grpc.StatusCode.NOT_FOUND, reason="MODEL_NOT_FOUND")

    far_server.on["Chat"] = fails
    with pytest.raises(errors.NotFound, match="MODEL_NOT_FOUND"):
        blocking.chat("hi")


def test_many_threads_share_one_client(blocking: Client) -> None:
    def both(number: int) -> tuple[str, str]:
        streamed = "".join(event.text for event in blocking.stream_chat(f"s{number}"))
        return str(blocking.chat(f"c{number}")), streamed

    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(both, range(100)))
    assert replies == [(f"you said c{number}", f"you said s{number}") for number in range(100)]


def test_leaving_a_stream_early_ends_the_call(blocking: Client, far_server: Server) -> None:
    far_server.on["StreamChat"] = for_ever
    for event in blocking.stream_chat("hi"):
        if event.text:
            break
    assert far_server.script.ended.wait(HANG_S)


def test_a_stream_that_was_never_read_leaves_nothing(blocking: Client, far_server: Server) -> None:
    stream = blocking.stream_chat("hi")
    del stream
    gc.collect()
    assert far_server.script.calls == []


def test_closing_ends_the_calls_of_other_threads(blocking: Client, far_server: Server) -> None:
    begun = threading.Event()

    async def waits(request: Any, context: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    far_server.on["Chat"] = waits
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(blocking.chat, "hi")
        assert begun.wait(HANG_S)
        blocking.close()
        with pytest.raises(errors.Cancelled):
            call.result(HANG_S)


def test_closing_ends_a_stream_that_is_held_open(blocking: Client, far_server: Server) -> None:
    far_server.on["StreamChat"] = for_ever
    stream = blocking.stream_chat("hi")
    next(stream)
    blocking.close()
    blocking.close()
    assert far_server.script.ended.wait(HANG_S)
    with pytest.raises((errors.Cancelled, RuntimeError), match="closed"):
        list(stream)


def test_a_closed_client_says_so(far_server: Server) -> None:
    client = Client(far_server.target)
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.chat("hi")


def test_a_dropped_client_ends_its_thread(far_server: Server) -> None:
    client = Client(far_server.target)
    client.chat("hi")
    [thread] = [thread for thread in threading.enumerate() if thread.name == "stepwire"]
    del client
    gc.collect()
    thread.join(HANG_S)
    assert not thread.is_alive()


def test_ctrl_c_ends_the_call_it_interrupts(far_server: Server) -> None:
    far_server.on["StreamChat"] = for_ever
    program = """
        import sys
        from stepwire import Client

        with Client(sys.argv[1]) as client:
            try:
                for event in client.stream_chat("hi"):
                    print(event.text, flush=True)
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            print(client.chat("still there"))
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), far_server.target], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        while child.stdout.readline().strip() != "once":
            assert child.poll() is None
        os.kill(child.pid, signal.SIGINT)
        rest, _ = child.communicate(timeout=HANG_S)
    finally:
        child.kill()
        child.communicate()
    assert rest.split("\n") == ["interrupted", "you said still there", ""]
    assert far_server.script.ended.wait(HANG_S)


def test_ctrl_c_is_noticed_when_it_does_not_wake_who_waits(blocking: Client, far_server: Server) -> None:
    """As when it comes just before the wait begins: here another thread gets the signal."""
    begun = threading.Event()

    async def silent(request: Any, context: Any) -> Any:
        begun.set()
        async for _ in for_ever(request, context):
            pass
        yield

    def interrupt() -> None:
        begun.wait(HANG_S)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    far_server.on["StreamChat"] = silent
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        next(blocking.stream_chat("hi"))
    thread.join()
    assert far_server.script.ended.wait(HANG_S)


def test_a_program_that_forgets_to_close_ends(far_server: Server) -> None:
    program = "import sys; from stepwire import Client; client = Client(sys.argv[1]); print(client.chat('hi'))"
    done = subprocess.run(
        [sys.executable, "-c", program, far_server.target], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "you said hi\n", "")


def test_ctrl_c_at_any_moment_leaves_a_client_that_works(far_server: Server) -> None:
    program = """
        import random, signal, sys
        from stepwire import Client

        signal.signal(signal.SIGALRM, signal.default_int_handler)
        interrupted = 0
        with Client(sys.argv[1]) as client:
            client.chat("hi")
            for _ in range(400):
                try:
                    try:
                        # Again after a while: what comes while Python runs a destructor is lost, as everywhere.
                        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.004), 0.2)
                        while True:
                            for event in client.stream_chat("hi"):
                                pass
                    finally:
                        signal.setitimer(signal.ITIMER_REAL, 0)
                except KeyboardInterrupt:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    interrupted += 1
            print(interrupted, client.chat("still there"))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), far_server.target],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stdout == "400 you said still there\n", done.stderr
    assert "never awaited" not in done.stderr
