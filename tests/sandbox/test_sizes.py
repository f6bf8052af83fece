"""What a function may be called with and may return: how large, and who else waits for it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from stepwired import jsonvalue
from stepwired.errors import InvalidRequest, StepFailed, Throttled
from stepwired.sandbox import calls, outcomes
from stepwired.sandbox.calls import Run
from tests.sandbox.outcomes import INPUT, INVALID, OUTPUT, short

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("length", "fits"), [(1024 * 1024 - 4, True), (1024 * 1024 - 3, False)])
async def test_arguments_may_have_a_mebibyte(run: Run, length: int, fits: bool) -> None:
    made = await run.call("(x) => x.length", [["x" * length], ["y"]])
    assert short(made) == [length if fits else INPUT, 1]


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        ("() => 'x'.repeat(1024 * 1024 - 2)", None),
        ("() => 'x'.repeat(1024 * 1024 - 1)", OUTPUT),
        ("() => 'ä'.repeat(512 * 1024 - 1)", None),
        ("() => 'ä'.repeat(512 * 1024)", OUTPUT),
        ("() => '😀'.repeat(256 * 1024)", OUTPUT),
    ],
)
async def test_a_value_may_have_a_mebibyte_of_utf_8(run: Run, source: str, outcome: str | None) -> None:
    made = await run.call(f"(x) => x ? 1 : ({source})()", [[True], [False], [True]])
    assert [made[0], made[2]] == [1, 1]
    assert outcome is None or isinstance(made[1], Throttled)
    assert outcome is None or short(made)[1] == outcome


@pytest.fixture
def on_the_loop(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many values were looked through each time that everybody else had to wait for it."""
    found: list[int] = []

    def fault(value: Any, *, max_depth: int) -> Any:
        if threading.current_thread() is threading.main_thread():
            found.append(len(value) if isinstance(value, list) else 1)
        return jsonvalue.fault(value, max_depth=max_depth)

    for module in (calls, outcomes):
        monkeypatch.setattr(module, "fault", fault)
    return found


async def test_a_large_argument_is_looked_through_while_others_go_on(run: Run, on_the_loop: list[int]) -> None:
    assert await run.call("(x) => x.length", [[[1] * 400_000]]) == [400_000]
    assert on_the_loop == [1]  # what it returned


async def test_many_arguments_are_looked_through_while_others_go_on(run: Run, on_the_loop: list[int]) -> None:
    assert await run.call("(x) => 1", [[[1] * 400]] * 1000) == [1] * 1000
    assert sum(on_the_loop) < 20_000


async def test_a_large_value_is_looked_through_while_others_go_on(run: Run, on_the_loop: list[int]) -> None:
    [made] = await run.call("(x) => Array(x).fill([])", [[340_000]])
    assert made == [[]] * 340_000
    assert on_the_loop == [1]  # what it was called with


async def test_many_values_are_looked_through_while_others_go_on(run: Run, on_the_loop: list[int]) -> None:
    made = await run.call("(x) => Array(400).fill(x)", [[1]] * 1000)
    assert made == [[1] * 400] * 1000
    assert sum(on_the_loop) < 20_000


async def test_one_fault_in_a_large_argument_is_found_and_leaves_the_calls_beside_it(run: Run) -> None:
    large: list[Any] = [[]] * 20_000
    made = await run.call("(x) => x.length", [[large], [[*large, 2**53]], [large]])
    assert [made[0], made[2]] == [20_000, 20_000]
    assert isinstance(made[1], InvalidRequest)
    assert "at [20000]" in str(made[1])


async def test_one_fault_in_a_large_value_is_found_and_leaves_the_values_beside_it(run: Run) -> None:
    source = "(x) => x ? [...Array(20_000).fill([]), '\\ud800'] : Array(20_000).fill([])"
    made = await run.call(source, [[False], [True], [False]])
    assert made[0] == made[2] == [[]] * 20_000
    assert isinstance(made[1], StepFailed)
    assert short(made)[1] == INVALID


@pytest.mark.parametrize("value", [object(), {1: 2}, 2**70, "\ud800", b"raw"])
async def test_what_cannot_even_be_written_is_refused_and_leaves_the_calls_beside_it(run: Run, value: Any) -> None:
    made = await run.call("(x) => x", [[1], [value], [2]])
    assert [made[0], made[2]] == [1, 2]
    assert short(made)[1] == "STEP_INPUT_INVALID"
