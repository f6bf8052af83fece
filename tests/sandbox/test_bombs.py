"""Functions that mean harm, or are only wrong: each costs itself, and nobody beside it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

import pytest

from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.sandbox.calls import Run
from stepwired.sandbox.pool import Sandbox
from tests.sandbox.outcomes import INVALID, MEMORY, OUTPUT, STACK, TIME, short

pytestmark = pytest.mark.anyio

#: What each does when it is called with 1, and what becomes of that call. All others return what they are given.
INTERRUPTED: Mapping[str, tuple[str, Json]] = {
    "endless loop": ("for (;;);", TIME),
    "endless loop that catches all": ("for (;;) try { for (;;); } catch {}", TIME),
    "endless loop in finally": ("try { for (;;); } finally { for (;;); }", TIME),
    "regex that backtracks": ("return /^(a+)+$/.test('a'.repeat(40) + 'b')", TIME),
    "endless loop in eval": ("eval('for (;;);')", TIME),
    "endless loop in a made function": ("Function('for (;;);')()", TIME),
    "endless loop in toJSON": ("return {toJSON() { for (;;); }}", TIME),
    "endless loop in a getter": ("return {get a() { for (;;); }}", TIME),
    "endless loop in a Proxy": ("return new Proxy({}, {ownKeys() { for (;;); }})", TIME),
    "endless loop in what is thrown": ("throw {toJSON() { for (;;); }}", TIME),
    "endless loop in a message": ("throw Object.defineProperty(Error(), 'message', {get() { for (;;); }})", TIME),
    "endless iterator": ("for (const each of (function* () { for (;;) yield 1; })());", TIME),
}

#: These are not quick everywhere: they get all the time they need.
REFUSED: Mapping[str, tuple[str, Json]] = {
    "list that grows": ("const a = []; for (;;) a.push('x' + a.length)", MEMORY),
    "objects that grow": ("let o = {}; for (;;) o = {o}", MEMORY),
    "string that doubles": ("let s = 'xx'; for (;;) s += s", MEMORY),
    "string that doubles and is read": ("let s = 'xx'; for (;;) { s += s; s.charCodeAt(s.length - 1); }", MEMORY),
    "string of 1 GiB": ("return 'x'.repeat(2 ** 30 - 25)", MEMORY),
    "buffer of 1 GiB": ("return new Uint8Array(2 ** 30).length", MEMORY),
    "list of 1 GiB that is one string": ("return Array(1024).fill('x'.repeat(2 ** 20))", MEMORY),
    "string of 2 MiB": ("return 'x'.repeat(2 ** 21)", OUTPUT),
    "deep recursion": ("const f = () => f() + 1; return f()", STACK),
    "deep recursion through a native": ("const f = () => [1].map(f); return f()", STACK),
    "deep value": ("let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return a", STACK),
    "generator": ("return (function* () { yield 1; })()", {}),
    "thenable": ("return {then() {}}", INVALID),
    "revoked Proxy": ("const {proxy, revoke} = Proxy.revocable({}, {}); revoke(); return proxy", INVALID),
}

#: Native code that looks at no clock: the whole process is ended.
KILLED = {
    "sort of nothing": ("const a = []; a.length = 4e9; a.sort()", TIME),
}


@pytest.fixture
async def alone() -> AsyncGenerator[Sandbox]:
    """One whose processes may end."""
    sandbox = await Sandbox.open(Limits(), processes_count=1)
    yield sandbox
    await sandbox.close()


@pytest.fixture(scope="module")
async def patient() -> AsyncGenerator[Sandbox]:
    """One that interrupts nothing which ends by itself."""
    sandbox = await Sandbox.open(Limits(function_s=20.0))
    yield sandbox
    await sandbox.close()


def bomb(body: str) -> str:
    return f"(x) => {{ if (x !== 1) return x; {body}; }}"


async def costs_its_own_call_alone(sandbox: Sandbox, body: str, expected: Json) -> None:
    run = sandbox.run()
    pids = sandbox.pids
    made = short(await run.call(bomb(body), [[0], [1], [2], [1], [3]]))
    assert made == [0, expected, 2, expected, 3]
    await neighbours_are_well(sandbox, run, bomb(body))
    assert sandbox.pids == pids
    await run.aclose()


async def neighbours_are_well(sandbox: Sandbox, run: Run, source: str) -> None:
    assert await run.call(source, [[5]]) == [5]
    other = sandbox.run()
    assert await other.call("(x) => x + 1", [[5]]) == [6]
    await other.aclose()


@pytest.mark.parametrize("name", INTERRUPTED)
async def test_an_endless_call_costs_itself_alone(sandbox: Sandbox, name: str) -> None:
    await costs_its_own_call_alone(sandbox, *INTERRUPTED[name])


@pytest.mark.parametrize("name", REFUSED)
async def test_a_call_that_wants_too_much_costs_itself_alone(patient: Sandbox, name: str) -> None:
    await costs_its_own_call_alone(patient, *REFUSED[name])


@pytest.mark.parametrize("name", KILLED)
async def test_a_bomb_that_cannot_be_interrupted_costs_its_process(alone: Sandbox, name: str) -> None:
    body, expected = KILLED[name]
    run = alone.run()
    before = alone.pids
    made = short(await run.call(bomb(body), [[0], [2], [1], [3]]))
    assert made == [0, 2, expected, 3]
    await neighbours_are_well(alone, run, bomb(body))
    assert len(alone.pids) == 1
    assert alone.pids != before
    await run.aclose()


@pytest.mark.parametrize(
    "source",
    [
        "() => (() => {}).constructor.constructor('return this')() === globalThis",
        "() => typeof (() => {}).constructor.constructor('return process')",
        "() => [].constructor.constructor('return typeof require')()",
        "() => { const p = Object.getPrototypeOf; return typeof p(async () => {}).constructor('return 1')().then }",
    ],
)
async def test_a_constructor_of_constructors_reaches_nothing_of_the_host(run: Run, source: str) -> None:
    [made] = short(await run.call(source, [[]]))
    assert made in {True, "undefined", "ReferenceError", "function"}


async def test_the_globals_of_a_function_are_those_of_the_language(run: Run) -> None:
    [found] = await run.call("() => Object.getOwnPropertyNames(globalThis)", [[]])
    assert isinstance(found, list)
    hosts = {"std", "os", "process", "require", "console", "print", "fetch", "scriptArgs", "setTimeout", "Worker"}
    gone = {"Atomics", "SharedArrayBuffer", "performance", "WeakRef", "FinalizationRegistry"}
    assert {"Array", "JSON", "Math"} <= set(map(str, found))
    assert not set(map(str, found)) & (hosts | gone)


async def test_modules_cannot_be_had(run: Run) -> None:
    source = "() => { let seen = 'nothing'; import('os').then((x) => { seen = 'os'; }, () => {}); return seen; }"
    assert await run.call(source, [[], []]) == ["nothing", "nothing"]


POLLUTION = """(x) => {
  Object.prototype.polluted = 'yes';
  Object.prototype.toJSON = function () { return 'owned'; };
  Array.prototype.map = () => ['owned'];
  JSON.stringify = () => '"owned"';
  JSON.parse = () => ['owned'];
  Reflect.apply = () => 'owned';
  String.prototype.slice = () => 'owned';
  Array.prototype[Symbol.iterator] = function* () { yield 'owned'; };
  Object.defineProperty(Array.prototype, '0', {configurable: true, set() {}, get() { return 'owned'; }});
  globalThis.Error = globalThis.RangeError = function () {};
  globalThis.undefined_ = 1;
  return x;
}"""
LOOK = """() => [typeof ({}).polluted, typeof ({}).toJSON, [1].map((x) => x)[0], JSON.stringify(1),
  JSON.parse('[2]')[0], 'ab'.slice(1), [...[3]][0], typeof globalThis.undefined_, new Error('e').message]"""


async def test_what_a_function_does_to_prototypes_nobody_else_sees(sandbox: Sandbox, run: Run) -> None:
    clean = ["undefined", "undefined", 1, "1", 2, "b", 3, "undefined", "e"]
    assert await run.call(LOOK, [[]]) == [clean]
    assert await run.call(POLLUTION, [[1], ["two"], [3]]) == [1, "two", 3]
    for _ in range(4):  # whichever process it comes to
        assert await run.call(LOOK, [[]]) == [clean]
        other = sandbox.run()
        assert await other.call(LOOK, [[]]) == [clean]
        assert await other.call("(x) => typeof ({}).polluted", [[1]]) == ["undefined"]
        await other.aclose()


async def test_what_runs_own_calls_cannot_be_forged_into_other_answers(run: Run) -> None:
    forging = """(x) => {
      Object.defineProperty(Error, Symbol.hasInstance, {configurable: true, value: () => { throw 1; }});
      InternalError.prototype.message = Error.prototype.name = {};
      Error.prepareStackTrace = () => '"},{"at":7,"kind":"time","text":"';
      if (x === 1) throw new TypeError('"}],"done":9,"faults":[{"at":99');
      return x;
    }"""
    made = short(await run.call(forging, [[0], [1], [2]]))
    assert (made[0], made[2]) == (0, 2)
    assert made[1] in {"value", "TypeError"}


async def test_memory_that_a_function_keeps_does_not_add_up_to_that_of_the_others(alone: Sandbox) -> None:
    keeping = "() => { globalThis.kept = new Uint8Array(28 * 2 ** 20).fill(1); return kept.length; }"
    runs = [alone.run() for _ in range(20)]
    before = alone.pids
    for run in runs:
        assert await run.call(keeping, [[]]) == [28 * 2**20]
    for run in runs:
        assert await run.call("(x) => 'y'.repeat(x).length", [[10_000_000]]) == [10_000_000]
        await run.aclose()
    assert alone.pids == before
