"""Steps written in Python, whose functions this very program serves, on the real server."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Generator
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwire import Client, errors, steps
from stepwire.steps import Flow
from tests.sdk.stepping import HANG_S, slowly_to


@pytest.fixture(scope="module")
def client(target: str) -> Generator[Client]:
    with Client(target) as made:
        made.list_steps()  # the connection belongs to all tests
        yield made


def double(x: Any) -> Any:
    return x * 2


async def slowly(x: Any) -> Any:
    await asyncio.sleep(0)
    return x * 2


def count_to(x: int) -> Generator[int]:
    yield from range(1, x + 1)


def refuse_two(x: int) -> int:
    if x == 2:
        raise LookupError("not two")
    return x


WAYS: dict[str, tuple[Any, Any, list[Any]]] = {
    "map of a function": (steps.map(double), [1, 2], [2, 4]),
    "map of a coroutine": (steps.map(slowly), [1, 2], [2, 4]),
    "a bare function": (double, 4, [8]),
    "functions and names": ([double, "upper", lambda text: f"{text}!"], "a", ["AA!"]),
    "a list stays one value": (lambda x: [x, x], 1, [[1, 1]]),
    "a generator": (count_to, 3, [1, 2, 3]),
    "an asynchronous generator": (slowly_to, 3, [1, 2, 3]),
    "a generator that yields nothing": (count_to, 0, []),
    "a function that returns a coroutine": (lambda x: slowly(x + 1), 4, [10]),
    "a function that returns a generator": (lambda x: (each for each in "ab"), 1, ["a", "b"]),
    "a class": (str, 1, ["1"]),
    "compose": (steps.compose([double, steps.compose([double]), steps.render("{{.}}")]), 1, ["4"]),
    "compose of nothing": (steps.compose([]), 1, [1]),
    "parallel": (steps.parallel(double, max_concurrency=8), list(range(20)), [2 * x for x in range(20)]),
    "spread and gather": ([steps.spread(), double, steps.gather()], [1, 2], [[2, 4]]),
    "take": ([count_to, steps.take(2)], 5, [1, 2]),
    "filter": ([count_to, steps.filter(lambda x: x % 2 == 0)], 5, [2, 4]),
    "choice": (steps.map(steps.choice((lambda x: x > 1, double), otherwise=lambda x: -x)), [1, 2], [-1, 4]),
    "choice of none": (steps.choice((lambda x: False, double)), 1, []),
    "timeout": (steps.timeout(double, 60), 1, [2]),
    "create_step": (steps.create_step(input=double, process=lambda x: x + 1, output=double), 1, [6]),
    "render": (steps.render("{{a}}!"), {"a": "x"}, ["x!"]),
    "javascript beside Python": ([steps.javascript("(x) => x + 1"), double], 1, [4]),
    "state": ([steps.spread(), steps.with_state(0, lambda x, s: (s + x, s + x))], [1, 2, 3], [1, 3, 6]),
    "state with any number of outputs": (
        [steps.spread(), steps.with_state(0, lambda x, s: {"outputs": [x] * s, "state": s + 1})],
        ["a", "b", "c"],
        ["b", "c", "c"],
    ),
    "JSON around it": ([{"spread": {}}, double], [1, 2], [2, 4]),
}


@pytest.mark.parametrize(("flow", "value", "expected"), WAYS.values(), ids=WAYS.keys())
def test_each_kind_of_step_does_what_it_says(client: Client, flow: Any, value: Any, expected: list[Any]) -> None:
    assert client.collect(flow, value) == expected


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(JSON, max_size=6), at_once=st.integers(1, 4), is_slow=st.booleans())
def test_map_of_a_function_is_the_list_of_its_results(
    client: Client, values: list[Any], at_once: int, is_slow: bool
) -> None:
    def wrap(x: Any) -> Any:
        return {"was": x, "json": json.dumps(x, sort_keys=True)}

    async def wrap_slowly(x: Any) -> Any:
        return wrap(x)

    flow = steps.map(wrap_slowly if is_slow else wrap, max_concurrency=at_once)
    assert client.collect(flow, values) == [wrap(x) for x in values]


def test_what_a_function_raises_is_the_cause_of_the_error(client: Client) -> None:
    with pytest.raises(errors.StepFailed, match="not two") as caught:
        client.collect(steps.map(refuse_two), [1, 2, 3])
    assert caught.value.metadata["errorType"] == "LookupError"
    assert isinstance(caught.value.__cause__, LookupError)
    found = list(client.run(steps.map(refuse_two), [1, 2, 3]))
    assert [result.value for result in found] == [1, None, 3]
    assert found[1].error is not None
    assert isinstance(found[1].error.__cause__, LookupError)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda _: object(), "object is not JSON"),
        (lambda _: "\ud800", "surrogates"),
        (lambda _: next(iter(())), "StopIteration"),
        (lambda _: exit(3), "SystemExit"),
        (lambda _: int("x"), "invalid literal"),
    ],
)
def test_a_function_that_cannot_answer_fails_its_item_alone(client: Client, function: Any, message: str) -> None:
    found = list(client.run(steps.map(function), [1]))
    assert found[0].error is not None
    assert message in found[0].error.message
    assert client.collect(double, 1) == [2]


def test_a_coroutine_that_cancels_itself_fails_its_item(client: Client) -> None:
    async def leave(_: Any) -> None:
        raise asyncio.CancelledError

    [found] = client.run(leave)
    assert found.error is not None
    assert found.error.metadata["errorType"] == "CancelledError"


def test_errors_of_this_package_keep_what_they_say_of_trying_again(client: Client) -> None:
    asked: list[tuple[type, int, bool]] = []
    tries = iter(range(3))

    def flaky(x: Any) -> Any:
        if next(tries) < 2:
            raise errors.Unavailable("down", retry_after_s=0.0)
        return x

    def again(error: errors.Error, attempt: int) -> bool:
        asked.append((type(error), attempt, error.is_transient))
        return error.is_transient

    assert client.collect(steps.with_retry(flaky, when=again, backoff=lambda attempt: attempt), 7) == [7]
    assert asked == [(errors.StepFailed, 1, True), (errors.StepFailed, 2, True)]


def test_a_function_that_takes_the_error_alone_is_asked_whether_to_try_again(client: Client) -> None:
    seen: list[errors.Error] = []

    def again(error: errors.Error) -> bool:
        seen.append(error)
        return len(seen) < 2

    flow = steps.with_retry(fails, when=again, backoff=lambda attempt: 0, max_attempts=5)
    with pytest.raises(errors.StepFailed):
        client.collect(flow, "x")
    assert [error.metadata["errorType"] for error in seen] == ["KeyError", "KeyError"]
    bound = steps.with_retry(fails, when=lambda error, kept=seen: len(kept) > 9, max_attempts=5)
    with pytest.raises(errors.StepFailed, match="x"):
        client.collect(bound, "x")


def fails(x: Any) -> Any:
    raise KeyError(x)


@pytest.mark.parametrize("given", [3, None, 1.5])
def test_what_is_no_step_at_all_is_said_so(client: Client, given: Any) -> None:
    with pytest.raises(errors.InvalidRequest, match="is no step: give a name"):
        client.collect(given, 1)


def test_an_input_that_a_function_does_not_take_is_said_so(client: Client) -> None:
    def picky(x: Any) -> Any:
        raise errors.InvalidRequest(f"{x} is no colour", reason="STEP_INPUT_INVALID")

    with pytest.raises(errors.InvalidRequest, match="1 is no colour") as caught:
        client.collect(picky, 1)
    assert caught.value.reason == "STEP_INPUT_INVALID"


def test_functions_run_side_by_side_as_far_as_the_spec_allows(client: Client) -> None:
    together = threading.Barrier(4)  # breaks unless four are within at once
    met = client.collect(steps.map(lambda x: together.wait(HANG_S) >= 0, max_concurrency=4), [1, 2, 3, 4])
    assert met == [True] * 4


def test_a_call_that_is_no_longer_needed_is_cancelled_and_its_thread_forgotten(client: Client) -> None:
    release, ended = threading.Event(), threading.Event()

    def hang(x: int) -> int:
        if x:
            release.wait(HANG_S)
            ended.set()
        return x

    assert client.collect([steps.parallel(hang, as_completed=True), steps.take(1)], [1, 0, 1]) == [0]
    with pytest.raises(errors.DeadlineExceeded):
        client.collect(steps.timeout(hang, 0.05), 1)
    release.set()
    assert ended.wait(HANG_S)
    assert client.collect(hang, 0) == [0]


def test_one_function_has_one_name_and_others_have_their_own() -> None:
    flow = steps.compose([double, double, lambda x: x, lambda x: x, steps.named("upper")])
    named = [json_format.MessageToDict(step) for step in flow.proto.compose.steps]
    assert named == [
        {"client": "double", "name": "double"},
        {"client": "double", "name": "double"},
        {"client": "<lambda>"},
        {"client": "<lambda>#2"},
        {"named": "upper"},
    ]
    assert repr(flow) == "<step compose>"
    assert repr(steps.named("x")) == "<step named 'x'>"


def test_options_hold_for_the_step_alone() -> None:
    flow: Flow = steps.function(double)
    changed = flow.options(name="twice", labels={"a": "b"}, max_concurrency=3, buffer=2, as_completed=True).proto
    assert (changed.name, dict(changed.labels), changed.max_concurrency) == ("twice", {"a": "b"}, 3)
    assert (changed.buffer, changed.as_completed) == (2, True)
    assert not flow.proto.HasField("max_concurrency")


def test_what_the_server_keeps_can_hold_no_function(client: Client) -> None:
    with pytest.raises(errors.InvalidRequest, match="serve it with a worker"):
        client.pipelines.save("mine", [double])
    assert client.validate([double]) == []
    assert client.validate([steps.map(double), steps.take(-1)])[0].field == "steps[1].take.count"
