"""What a function may be, what it gets, and what it gives."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepwired.errors import Failure, InvalidRequest, Reason, StepFailed
from stepwired.events import MAX_SAFE_INTEGER, Json
from stepwired.limits import Limits
from stepwired.sandbox.calls import Run
from stepwired.sandbox.pool import Sandbox
from stepwired.steps.functions import Functions
from tests.sandbox.outcomes import INVALID, OUTPUT, short

pytestmark = pytest.mark.anyio


async def outcome(run: Run, source: str, *arguments: Json) -> Any:
    [made] = await run.call(source, [arguments])
    return made


async def failure(run: Run, source: str, *arguments: Json) -> Failure:
    made = await outcome(run, source, *arguments)
    assert isinstance(made, Failure)
    return made


async def test_it_is_what_the_steps_ask_for(sandbox: Sandbox) -> None:
    functions: Functions = sandbox
    run = functions.run()
    assert await run.call("(x) => x", [[1]]) == [1]
    await run.aclose()


@pytest.mark.parametrize(
    ("source", "argument", "expected"),
    [
        ("(x) => x * 2", 21, 42),
        ("(text) => text.toLowerCase()", "ÄB", "äb"),
        ("(attempt) => Math.pow(2, attempt) * 1000", 3, 8000),
        ("(error) => error.isTransient", {"isTransient": True}, True),
    ],
)
async def test_the_functions_of_the_guide_run_as_they_stand(
    run: Run, source: str, argument: Any, expected: Any
) -> None:
    assert await outcome(run, source, argument) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("() => undefined", None),
        ("() => {}", None),
        ("() => [undefined, null]", [None, None]),
        ("() => ({a: undefined})", {}),
        ("() => [[1], [2, 3]]", [[1], [2, 3]]),
        ("() => -0", 0),
        ("() => 0.1 + 0.2", 0.30000000000000004),
        ("() => 4 / 2", 2),
        ("() => new Date(0)", "1970-01-01T00:00:00.000Z"),
        ("() => new Map([[1, 2]])", {}),
        ("() => [new Number(5), new String('x'), new Boolean(false), Object.create(null)]", [5, "x", False, {}]),
        ("() => { class A { b = 1 } return new A(); }", {"b": 1}),
        ("function named(x) { return named.name; }", "named"),
        ("(...all) => all.length", 0),
        ("() => typeof Atomics + typeof SharedArrayBuffer + typeof performance", "undefined" * 3),
        ("() => '\\u2028\\n\"'", '\u2028\n"'),
        ("() => { let s = ''; for (let i = 0; i < 9999; i++) s += 'x'; return s; }", "x" * 9999),
        ("(x) => x === undefined // a comment", True),
    ],
)
async def test_a_value_is_json_as_javascript_says_it(run: Run, source: str, expected: Any) -> None:
    made = await outcome(run, source)
    assert (made, str(made)) == (expected, str(expected))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("() => NaN", "NaN or infinity"),
        ("() => ({a: [1 / 0]})", "NaN or infinity"),
        ("() => 10n", "bigint"),
        ("() => [10n]", "BigInt"),
        ("() => () => 1", "a function"),
        ("() => ({a: () => 1})", "a function"),
        ("() => Symbol('x')", "a symbol"),
        ("() => { const a = {}; a.a = a; return a; }", "circular"),
        ("() => Promise.resolve(1)", "a Promise"),
        ("() => ({get a() { throw new TypeError('no'); }})", "TypeError: no"),
        ("() => ({toJSON() { return 1n; }})", "BigInt"),
        ("() => new Proxy({}, {ownKeys() { throw new Error('shut'); }})", "Error: shut"),
        ("() => 2 ** 53", "2^53-1"),
        ("() => 1e300", "2^53-1"),
        ("() => JSON.rawJSON('12345678901234567890')", "2^53-1"),
        ("() => JSON.rawJSON('1e999')", "NaN"),
        ("() => new Number(NaN)", "NaN or infinity"),
        ("() => ({a: [new Number(1 / 0)]})", "NaN or infinity"),
        ("() => Object(Symbol())", "a symbol"),
        ("() => ({a: Object(Symbol())})", "a symbol"),
        ("() => JSON.rawJSON('\"\\ud800\"')", "surrogate"),
        ("() => '\\ud800'", "surrogate"),
        ("() => ({'\\udfff': 1})", "surrogate"),
        ("() => 'a\\0b'", "NUL"),
        ("() => { let a = []; for (let i = 0; i < 33; i++) a = [a]; return a; }", "nested too deep"),
        ("() => { let a = []; for (let i = 0; i < 1500; i++) a = [a]; return a; }", "nested too deep"),
    ],
)
async def test_what_json_cannot_say_is_refused_and_never_changed(run: Run, source: str, says: str) -> None:
    refused = await failure(run, source)
    assert isinstance(refused, StepFailed)
    assert refused.reason is Reason.STEP_OUTPUT_INVALID
    assert says in str(refused)


async def test_one_value_that_cannot_be_said_leaves_those_beside_it(run: Run) -> None:
    made = await run.call("(x) => x === 1 ? '\\ud800' : x", [[0], [1], [2]])
    assert short(made) == [0, INVALID, 2]


@pytest.mark.parametrize(
    ("source", "message", "metadata"),
    [
        (
            "(x) => {\n  return x.a.b;\n}",
            "the function threw TypeError: cannot read property 'a' of undefined (line 2)",
            {"errorType": "TypeError", "isTransient": "false", "line": "2"},
        ),
        ("() => { throw 'word' }", "the function threw word", {"errorType": "value", "isTransient": "false"}),
        ("() => { throw {code: 5} }", 'the function threw {"code":5}', {"errorType": "value", "isTransient": "false"}),
        (
            "() => { throw {get toJSON() { throw 1 }} }",
            "the function threw something",
            {"errorType": "value", "isTransient": "false"},
        ),
        (
            "() => null.x",
            "the function threw TypeError: cannot read property 'x' of null (line 1)",
            {"errorType": "TypeError", "isTransient": "false", "line": "1"},
        ),
    ],
)
async def test_what_is_thrown_is_told_with_its_line(
    run: Run, source: str, message: str, metadata: dict[str, str]
) -> None:
    thrown = await failure(run, source)
    assert isinstance(thrown, StepFailed)
    assert (thrown.reason, str(thrown), thrown.metadata) == (Reason.STEP_EXECUTION_FAILED, message, metadata)


async def test_what_is_thrown_is_cut(run: Run) -> None:
    thrown = await failure(run, "() => { const e = new Error('x'.repeat(1e6)); e.name = 'y'.repeat(1e6); throw e; }")
    assert len(str(thrown)) < 1200
    assert len(thrown.metadata["errorType"]) == 100


async def test_one_call_that_throws_leaves_those_beside_it(run: Run) -> None:
    made = await run.call("(x) => { if (x % 2) throw new RangeError(x); return x; }", [[x] for x in range(6)])
    assert short(made) == [0, "RangeError", 2, "RangeError", 4, "RangeError"]


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("(x) => x * 2", None),
        ("function (x) { return x }", None),
        ("(x) => ({a: x}) // said", None),
        ("(x =>\n x y\n)", "line 2: SyntaxError: Unexpected identifier 'y'"),
        ("(x) => {\n return 1;\n", "line 3: SyntaxError"),
        ("x => 1) + (y => 2", "line 1: SyntaxError"),
        ("x => 1] + [y => 2", "line 1: SyntaxError"),
        ("x => 1, y => 2", "it is not one function"),
        ("", "it is empty"),
        ("1", "it is number, not a function"),
        ("'\\ud800'", "it is string, not a function"),
        ("({})", "it is object, not a function"),
        ("null", "it is null, not a function"),
        ("nothing", "line 1: ReferenceError: nothing is not defined"),
        ("async (x) => x", "it is an async function: a function has to return its value, it cannot wait"),
        ("async function* () {}", "it is an async function: a function has to return its value, it cannot wait"),
        ("function* () {}", "it is a generator: a function returns one value, which may be a list"),
        ("class A {}", "it is a class, not a function"),
        ("() => '\0'", "it has a NUL character"),
        ("() => '\ud800'", "it has half a surrogate pair, which UTF-8 cannot say"),
        ("() => 1 //" + "x" * 65536, "it has more than 65536 bytes"),
        ("(() => { for (;;); })()", "it takes too long to be made"),
        ("(() => 'x'.repeat(2 ** 30 - 25))()", "it takes too much memory to be made"),
        ("import('x')", "it is object, not a function"),
        ("import fs from 'fs'", "line 1: SyntaxError"),
    ],
)
async def test_what_is_no_function_is_found_before_it_is_called(
    sandbox: Sandbox, source: str, fault: str | None
) -> None:
    for _ in range(2):  # the second time from memory
        [found] = await sandbox.faults([source])
        assert found == fault or (fault is not None and found is not None and found.startswith(fault))
        assert found is None or "\n" not in found


async def test_all_sources_are_looked_at_in_their_order(sandbox: Sandbox) -> None:
    found = await sandbox.faults(["(x) => x", "1", "() => 2", ""])
    assert [each is None for each in found] == [True, False, True, False]


async def test_looking_at_a_function_does_not_call_it(sandbox: Sandbox) -> None:
    assert await sandbox.faults(["() => { for (;;); }"]) == [None]


@pytest.mark.parametrize("source", ["1", "(x", "async () => 1", "", "(() => { throw new TypeError('top') })()"])
async def test_calls_of_what_is_no_function_fail_each(run: Run, source: str) -> None:
    made = await run.call(source, [[1], [2]])
    assert short(made) == ["SyntaxError", "SyntaxError"]
    assert str(made[0]).startswith("the function cannot be made: ")


async def test_no_calls_make_no_values(run: Run) -> None:
    assert await run.call("(x) => x", []) == []


async def test_many_calls_keep_their_order(run: Run) -> None:
    many = 2_500
    assert await run.call("(x, y) => [x, y.length]", [[x, "a" * 300] for x in range(many)]) == [
        [x, 300] for x in range(many)
    ]


@pytest.mark.parametrize("value", [2**53, -(2**60), 1e300, math.nan, math.inf, "\0", "\ud800", {"a": [2**53]}])
async def test_what_javascript_would_change_is_refused_on_its_way_in(run: Run, value: Any) -> None:
    made = await run.call("(x) => x", [[1], [value], [2]])
    assert [made[0], made[2]] == [1, 2]
    refused = made[1]
    assert isinstance(refused, InvalidRequest)
    assert refused.reason is Reason.STEP_INPUT_INVALID


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NUMBERS = st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER) | st.floats(
    -MAX_SAFE_INTEGER, MAX_SAFE_INTEGER, allow_nan=False
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)


def said_in_javascript(value: Any) -> Any:
    """What JSON says of it in JavaScript, where whole numbers have no fraction and zero no sign."""
    if isinstance(value, list):
        return [said_in_javascript(each) for each in value]
    if isinstance(value, dict):
        return {key: said_in_javascript(each) for key, each in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(VALUES, min_size=1, max_size=20))
async def test_values_come_back_as_they_went(sandbox: Sandbox, values: list[Any]) -> None:
    run = sandbox.run()
    try:
        made = await run.call("(x) => x", [[value] for value in values])
    finally:
        await run.aclose()
    expected = [said_in_javascript(value) for value in values]
    assert json.dumps(made, sort_keys=True) == json.dumps(expected, sort_keys=True)


async def test_a_setting_changes_what_a_function_may_use() -> None:
    sandbox = await Sandbox.open(Limits(function_output_bytes=10, function_source_bytes=20), processes_count=1)
    try:
        run = sandbox.run()
        assert short(await run.call("(x) => x", [["x" * 8], ["x" * 9]])) == ["x" * 8, OUTPUT]
        assert await sandbox.faults(["(x) => x + 'more than'"]) == ["it has more than 20 bytes"]
    finally:
        await sandbox.close()
