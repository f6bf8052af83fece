"""Steps as tools of chat models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from stepwired.errors import Failure, Reason
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps import spec
from stepwired.steps.named import NamedStep, step
from stepwired.steps.pipelines import Listed, Pipelines
from stepwired.steps.sources import SavedPipeline
from stepwired.steps.tools import Tools
from tests.steps.conftest import Scripted, as_json, placed, registry_of

CITY: dict[str, Json] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
MUCH = 10_000


@step("weather", input=CITY)
def weather(value: Json) -> Json:
    """Tells the weather.

    Not for models.
    """
    return {"city": value["city"], "ä": 12}  # type: ignore[index,call-overload]


@step("shout", quick=True, input={"type": "string"})
def shout(value: Json) -> Json:
    """A text, louder."""
    return f"{value}!"


@step("bare")
def bare(value: Json) -> Json:
    return value


@step("count", quick=True, input={"properties": {"to": {"type": "integer"}}})
def count(value: Json) -> Iterator[Json]:
    yield from range(value["to"])  # type: ignore[arg-type,index,call-overload]


@step("fail", quick=True, input={"type": "object"})
def fail(_: Json) -> Json:
    raise KeyError("secret")


@step("wait", input={"type": "object"})
async def wait(_: Json) -> Json:
    waiting.set()
    try:
        await asyncio.Event().wait()
    finally:
        ended.set()
    return None


waiting, ended = asyncio.Event(), asyncio.Event()
NAMED: list[NamedStep] = [weather, shout, bare, count, fail, wait]


def tools(*allowed: str, pipelines: Pipelines | None = None) -> Tools:
    registry = registry_of(Scripted(), named=NAMED, others=[pipelines] if pipelines else [])
    return Tools(lambda: registry, set(allowed).__contains__, as_json)


async def test_only_what_the_operator_lists_and_has_a_schema_may_be_a_tool() -> None:
    made = tools("weather", "bare", "nobody")
    for name in ("shout", "bare", "nobody", "weather@7"):
        assert await made.find(name) is None
    for name in ("weather", "weather@1"):
        found = await made.find(name)
        assert found is not None
        assert (found.description, json.loads(found.schema)) == ("Tells the weather.", CITY)


async def test_a_step_whose_input_is_no_object_gets_it_out_of_one() -> None:
    made = tools("shout")
    found = await made.find("shout")
    assert found is not None
    assert json.loads(found.schema) == {
        "type": "object",
        "properties": {"input": {"type": "string"}},
        "required": ["input"],
    }
    assert (await made.run("shout", {"input": "hi"}, limit_bytes=MUCH)).text == "hi!"


async def test_a_schema_that_names_properties_alone_is_one_of_an_object() -> None:
    found = await tools("count").find("count")
    assert found is not None
    assert json.loads(found.schema) == {"type": "object", "properties": {"to": {"type": "integer"}}}


async def test_a_saved_pipeline_is_found_with_its_description() -> None:
    saved = SavedPipeline("louder", "2", tuple(placed(spec.Named("shout"))), {"type": "string"})
    pipelines = Pipelines(Limits())
    pipelines.put([Listed.of(saved, "Makes it loud.", 10)])
    made = tools("louder", pipelines=pipelines)
    found = await made.find("louder")
    assert found is not None
    assert found.description == "Makes it loud."
    answer = await made.run("louder", {"input": "hi"}, limit_bytes=MUCH)
    assert (answer.text, answer.facts["step"]) == ("hi!", "louder")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("weather", {"city": "Oslo"}, '{"city":"Oslo","ä":12}'),
        ("count", {"to": 0}, "[]"),
        ("count", {"to": 1}, "0"),
        ("count", {"to": 3}, "[0,1,2]"),
    ],
)
async def test_one_value_is_told_as_it_is_and_several_as_a_list(name: str, value: Any, text: str) -> None:
    answer = await tools(name).run(name, value, limit_bytes=MUCH)
    assert (answer.text, answer.total_bytes) == (text, len(text.encode()))
    assert answer.facts["step"] == name
    assert isinstance(answer.facts["run_id"], str)


@pytest.mark.parametrize("limit_bytes", [0, 1, 5, 20, 388, 389, 390, 391, 1000])
async def test_what_is_kept_has_its_limit_and_what_there_was_is_known(limit_bytes: int) -> None:
    whole = json.dumps(list(range(100)), separators=(",", ":"))
    answer = await tools("count").run("count", {"to": 100}, limit_bytes=limit_bytes)
    assert (answer.text, answer.total_bytes) == (whole[:limit_bytes], len(whole))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("fail", {}, Reason.STEP_EXECUTION_FAILED),
        ("weather", {"town": 1}, Reason.STEP_INPUT_INVALID),
        ("shout", {"input": 1, "more": 2}, Reason.STEP_INPUT_INVALID),
    ],
)
async def test_what_fails_is_raised_and_tells_no_secret(name: str, value: Any, reason: Reason) -> None:
    with pytest.raises(Failure) as failed:
        await tools(name).run(name, value, limit_bytes=MUCH)
    assert failed.value.reason is reason
    assert "secret" not in str(failed.value)


async def test_cancelling_the_tool_ends_the_run() -> None:
    waiting.clear()
    ended.clear()
    running = asyncio.create_task(tools("wait").run("wait", {}, limit_bytes=MUCH))
    await waiting.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()
