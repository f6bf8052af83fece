"""Steps of every kind from the wire: what each field becomes, and each limit from both sides."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format

from stepwire.v1 import step_run_pb2
from stepwired.errors import Reason
from stepwired.limits import KIB, MIB, Limits
from stepwired.rpc.convert.steps import SpecReader
from stepwired.steps.spec import (
    Case,
    ChatEmit,
    ChatLeaf,
    Choice,
    Client,
    Emitted,
    Filter,
    Javascript,
    Kind,
    Parallel,
    Process,
    Retry,
    Spec,
    Spread,
    State,
    Take,
    Timeout,
)
from stepwired.violations import Faults

R = Reason


def read(step: dict[str, Any]) -> tuple[Spec, list[tuple[str, R]]]:
    faults = Faults()
    reader = SpecReader(Limits(), faults)
    [spec] = reader.specs([json_format.ParseDict(step, step_run_pb2.Step())])
    return spec, [(fault.field, fault.reason) for fault in faults.found]


def at(path: str) -> Spec:
    return Spec(Spread(), f"steps[0].{path}")


SPREAD: dict[str, Any] = {"spread": {}}


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ({"javascript": "(x) => x"}, Javascript("(x) => x")),
        ({"client": "f"}, Client("f")),
        ({"take": {"count": 0}}, Take(0)),
        ({"filter": {"where": SPREAD}}, Filter(at("filter.where"))),
        ({"filter": {}}, Filter(None)),
        (
            {"process": {"pre": SPREAD, "process": SPREAD, "post": SPREAD}},
            Process(at("process.pre"), at("process.process"), at("process.post")),
        ),
        ({"process": {}}, Process()),
        ({"parallel": {"step": SPREAD}}, Parallel(at("parallel.step"), 4)),
        (
            {"parallel": {"step": SPREAD, "maxConcurrency": 9, "asCompleted": True, "failFast": True}},
            Parallel(at("parallel.step"), 9, as_completed=True, fail_fast=True),
        ),
        ({"retry": {"step": SPREAD}}, Retry(at("retry.step"), 3, 1.0, 2.0, 60.0, 0.2)),
        (
            {
                "retry": {
                    "step": SPREAD,
                    "maxAttempts": 5,
                    "initialDelay": "0s",
                    "multiplier": 1,
                    "maxDelay": "1.5s",
                    "jitter": 0,
                    "backoff": SPREAD,
                    "when": SPREAD,
                    "emitted": "RETRY_EMITTED_RESTART",
                }
            },
            Retry(at("retry.step"), 5, 0.0, 1.0, 1.5, 0.0, at("retry.backoff"), at("retry.when"), Emitted.RESTART),
        ),
        ({"timeout": {"step": SPREAD, "limit": "0.5s"}}, Timeout(at("timeout.step"), 0.5)),
        ({"state": {"step": SPREAD, "initialState": {"a": [1]}}}, State(at("state.step"), {"a": [1]})),
        ({"state": {}}, State(None)),
        (
            {"choice": {"cases": [{"when": SPREAD, "then": SPREAD}, {}], "otherwise": SPREAD}},
            Choice(
                (Case(at("choice.cases[0].when"), at("choice.cases[0].then")), Case(None, None)),
                at("choice.otherwise"),
            ),
        ),
        ({"chat": {"emit": "CHAT_EMIT_DELTAS"}}, ChatLeaf(emit=ChatEmit.DELTAS)),
        ({"chat": {}}, ChatLeaf()),
    ],
)
def test_each_kind_becomes_what_it_says(step: dict[str, Any], kind: Kind) -> None:
    spec, faults = read(step)
    assert faults == []
    assert spec == Spec(kind, "steps[0]")


def test_what_stands_beside_the_kind_is_read_too() -> None:
    spec, faults = read({"spread": {}, "maxConcurrency": 7, "buffer": 3, "asCompleted": True, "name": "n"})
    assert faults == []
    assert spec == Spec(Spread(), "steps[0]", "n", {}, 7, 3, True)


def retry(name: str) -> Any:
    return lambda value: {"retry": {"step": SPREAD, name: value}}


#: Field, its reason, a value inside, one outside, and what holds it.
LIMITS: list[tuple[str, R, Any, Any, Any]] = [
    ("javascript", R.FIELD_INVALID, "x" * 64 * KIB, "x" * (64 * KIB + 1), lambda text: {"javascript": text}),
    ("javascript", R.FIELD_REQUIRED, "x", "", lambda text: {"javascript": text}),
    ("client", R.FIELD_INVALID, "x" * 128, "x" * 129, lambda text: {"client": text}),
    ("client", R.FIELD_REQUIRED, "x", "", lambda text: {"client": text}),
    ("take.count", R.FIELD_INVALID, 0, -1, lambda n: {"take": {"count": n}}),
    ("take.count", R.FIELD_INVALID, 1_000_000, 1_000_001, lambda n: {"take": {"count": n}}),
    ("take.count", R.FIELD_REQUIRED, {"count": 1}, {}, lambda take: {"take": take}),
    ("parallel.max_concurrency", R.FIELD_INVALID, 0, -1, lambda n: {"parallel": {"maxConcurrency": n}}),
    ("parallel.max_concurrency", R.FIELD_INVALID, 256, 257, lambda n: {"parallel": {"maxConcurrency": n}}),
    ("retry.max_attempts", R.FIELD_INVALID, 0, -1, retry("maxAttempts")),
    ("retry.max_attempts", R.FIELD_INVALID, 10, 11, retry("maxAttempts")),
    ("retry.initial_delay", R.FIELD_INVALID, "3600s", "3600.1s", retry("initialDelay")),
    ("retry.initial_delay", R.FIELD_INVALID, "0s", "-1s", retry("initialDelay")),
    ("retry.multiplier", R.FIELD_INVALID, 1, 0.9, retry("multiplier")),
    ("retry.multiplier", R.FIELD_INVALID, 100, 101, retry("multiplier")),
    ("retry.multiplier", R.FIELD_INVALID, 2, "NaN", retry("multiplier")),
    ("retry.max_delay", R.FIELD_INVALID, "3600s", "3601s", retry("maxDelay")),
    ("retry.jitter", R.FIELD_INVALID, 0, -0.1, retry("jitter")),
    ("retry.jitter", R.FIELD_INVALID, 1, 1.1, retry("jitter")),
    ("retry.emitted", R.FIELD_INVALID, 3, 9, retry("emitted")),
    ("timeout.limit", R.FIELD_INVALID, "0.001s", "0s", lambda text: {"timeout": {"limit": text}}),
    ("timeout.limit", R.FIELD_INVALID, "3600s", "3601s", lambda text: {"timeout": {"limit": text}}),
    ("timeout.limit", R.FIELD_REQUIRED, {"limit": "1s"}, {}, lambda timeout: {"timeout": timeout}),
    ("chat.emit", R.FIELD_INVALID, 2, 9, lambda n: {"chat": {"emit": n}}),
    (
        "state.initial_state",
        R.FIELD_INVALID,
        "x" * (MIB - 64),
        "x" * (MIB + 1),
        lambda text: {"state": {"initialState": text}},
    ),
]


@pytest.mark.parametrize(("field", "reason", "inside", "outside", "make"), LIMITS, ids=[row[0] for row in LIMITS])
def test_each_limit_holds_from_both_sides(field: str, reason: R, inside: Any, outside: Any, make: Any) -> None:
    assert read(make(inside))[1] == []
    assert read(make(outside))[1] == [(f"steps[0].{field}", reason)]


def test_a_duration_with_impossible_nanos_is_none() -> None:
    faults = Faults()
    step = step_run_pb2.Step()
    step.timeout.limit.seconds = 1
    step.timeout.limit.nanos = -5
    SpecReader(Limits(), faults).specs([step])
    assert [fault.field for fault in faults.found] == ["steps[0].timeout.limit"]
