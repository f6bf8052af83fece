"""Pipelines over the wire, on a real store, as they are saved; a scripted registry knows the other steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from stepwire.v1 import pipeline_pb2
from stepwired import app
from stepwired.errors import Conflict, Reason
from stepwired.limits import Limits
from stepwired.steps.worker import Registration, WorkerStep
from stepwired.store.nouns import KeptPipeline
from stepwired.store.sqlite import SqliteStore
from tests.rpc.keeping import refused
from tests.rpc.saving import UP, Asking, asking

Code = grpc.StatusCode


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncGenerator[Asking]:
    async with asking(tmp_path) as made:
        yield made


# --- saving ---


async def test_a_pipeline_comes_back_with_its_version_and_time(ask: Asking) -> None:
    given = {
        "name": "p",
        "description": "d",
        "steps": [{"map": {"step": {"named": "upper"}}}, {"take": {"count": 0}}],
        "input_schema": {"type": "array", "maxItems": 3},
        "labels": {"a": "1"},
    }
    saved = (await ask.call("SavePipeline", pipeline={**given, "create_time": "2001-01-01T00:00:00Z"})).pipeline
    assert saved.version == "1"
    assert saved.create_time.seconds > 1_500_000_000, "what a request says is ignored"
    expected = json_format.ParseDict({**given, "version": "1"}, pipeline_pb2.Pipeline())
    expected.create_time.CopyFrom(saved.create_time)
    assert saved == expected
    assert (await ask.call("GetPipeline", name="p")).pipeline == saved
    assert (await ask.call("GetPipeline", name="p", version="1")).pipeline == saved


async def test_saving_the_same_again_succeeds_and_changes_nothing_even_if_it_could_not_run_any_more(
    ask: Asking,
) -> None:
    await ask.save("inner")
    first = await ask.save("p", [{"named": "inner"}])
    await ask.call("DeletePipeline", name="inner")
    assert await ask.save("p", [{"named": "inner"}]) == first
    assert await ask.save("p", [{"named": "inner"}], version="1") == first
    told = await refused(ask.save("p", [{"named": "inner"}], version="2"))
    assert (told.reason, told.fields) == ("STEP_GRAPH_INVALID", [("pipeline.steps[0].named", "STEP_GRAPH_INVALID")])
    assert await ask.listed(name="p") == ["p@1"]


async def test_a_version_is_chosen_where_none_is_named_and_none_ever_changes(ask: Asking) -> None:
    assert await ask.saved(description="a") == "p@1"
    assert await ask.saved(description="b") == "p@2"
    assert await ask.saved(description="c", version="10.4") == "p@10.4"
    assert await ask.saved(description="d") == "p@11"
    told = await refused(ask.save(description="x", version="2"))
    assert (told.code, told.reason) == (Code.ALREADY_EXISTS, "PIPELINE_EXISTS")
    assert (await ask.call("GetPipeline", name="p", version="2")).pipeline.description == "b"


async def test_saves_at_once_get_versions_of_their_own(ask: Asking) -> None:
    found = await asyncio.gather(*(ask.saved(description=str(number)) for number in range(30)))
    assert set(found) == {f"p@{number}" for number in range(1, 31)}
    assert [info.version for info in await ask.known.pipelines.infos()] == [str(number) for number in range(30, 0, -1)]


async def test_two_saves_at_once_cannot_close_a_circle_together(ask: Asking) -> None:
    await asyncio.gather(ask.save("a"), ask.save("b"))
    saves = await asyncio.gather(
        ask.save("a", [{"named": "b"}]), ask.save("b", [{"named": "a"}]), return_exceptions=True
    )
    [failed] = [each for each in saves if isinstance(each, grpc.aio.AioRpcError)]
    assert failed.code() is Code.INVALID_ARGUMENT


async def test_a_circle_is_refused_at_each_step_that_closes_it_and_only_there(ask: Asking) -> None:
    told = await refused(ask.save("p", [{"named": "upper"}, {"map": {"step": {"named": "p"}}}]))
    assert told.fields == [("pipeline.steps[1].map.step.named", "STEP_GRAPH_INVALID")]
    assert "`p` → `p`" in told.message
    await ask.save("a")
    await ask.save("b", [{"named": "a"}])
    told = await refused(ask.save("a", [{"named": "b"}]))
    assert "`a` → `b` → `a`" in told.message
    assert await ask.saved("a", [{"named": "a@1"}]) == "a@2", "an older version of it is another pipeline"


async def test_names_of_other_kinds_of_steps_are_taken(ask: Asking) -> None:
    for name in ("upper", "far"):
        told = await refused(ask.save(name))
        assert (told.code, told.reason) == (Code.ALREADY_EXISTS, "STEP_EXISTS")
    assert await ask.listed() == []
    await refused(ask.save("p", [{"named": "no"}]))
    assert ask.known.claimed == ["p"], "no worker can take it meanwhile"
    assert not ask.known.pipelines.has("p")
    await ask.save("q")
    assert ask.known.pipelines.has("q")


FAULTS: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"name": ""}, [("pipeline.name", "FIELD_REQUIRED")]),
    ({"name": "a b"}, [("pipeline.name", "FIELD_INVALID")]),
    ({"name": "n" * 129}, [("pipeline.name", "FIELD_INVALID")]),
    ({"name": "a@1"}, [("pipeline.name", "FIELD_INVALID")]),
    ({"version": "v1"}, [("pipeline.version", "FIELD_INVALID")]),
    ({"version": "1" * 33}, [("pipeline.version", "FIELD_INVALID")]),
    ({"description": "é" * 513}, [("pipeline.description", "FIELD_INVALID")]),
    ({"steps": []}, [("pipeline.steps", "FIELD_REQUIRED")]),
    ({"steps": [{"named": "upper", "name": "x" * 129}]}, [("pipeline.steps[0].name", "FIELD_INVALID")]),
    (
        {"steps": [{}, {"map": {"step": {"named": "no"}}}]},
        [("pipeline.steps[0]", ""), ("pipeline.steps[1].map.step.named", "")],
    ),
    ({"input_schema": {"type": 7}}, [("pipeline.input_schema", "FIELD_INVALID")]),
    ({"input_schema": {"const": "x" * 65536}}, [("pipeline.input_schema", "FIELD_INVALID")]),
    ({"input_schema": {"$ref": "http://127.0.0.1/x"}}, [("pipeline.input_schema", "FIELD_INVALID")]),
    ({"input_schema": {"$ref": "#a", "$defs": {"a": {"$anchor": "a"}}}}, [("pipeline.input_schema", "FIELD_INVALID")]),
    ({"labels": {str(number): "" for number in range(65)}}, [("pipeline.labels", "FIELD_INVALID")]),
    ({"labels": {"a": "x" * 257}}, [("pipeline.labels", "FIELD_INVALID")]),
    (
        {"name": "", "version": "x", "steps": [{"buffer": 0, "named": "upper"}, {}], "input_schema": {"type": 7}},
        [
            ("pipeline.name", "FIELD_REQUIRED"),
            ("pipeline.version", "FIELD_INVALID"),
            ("pipeline.steps[0].buffer", "FIELD_INVALID"),
            ("pipeline.steps[1]", "STEP_GRAPH_INVALID"),
            ("pipeline.input_schema", "FIELD_INVALID"),
        ],
    ),
]


@pytest.mark.parametrize(("given", "expected"), FAULTS, ids=[str(each[0])[:30] for each in FAULTS])
async def test_every_fault_is_told_at_once(ask: Asking, given: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    told = await refused(ask.call("SavePipeline", pipeline={"name": "p", "steps": UP, **given}))
    assert told.code is Code.INVALID_ARGUMENT
    assert told.fields == [(path, reason or "STEP_GRAPH_INVALID") for path, reason in expected]
    assert await ask.listed() == []


async def test_what_lies_just_within_the_limits_is_saved(ask: Asking) -> None:
    labels = {f"{number:0256}": "x" * 256 for number in range(64)}
    schema = {"const": "x" * (64 * 1024 - len('{"const":""}'))}
    name = "n" * 128
    found = await ask.saved(name, version="1" * 32, description="é" * 512, labels=labels, input_schema=schema)
    assert found == f"{name}@{'1' * 32}"
    whole = (await ask.call("GetPipeline", name=name)).pipeline
    assert (dict(whole.labels), len(whole.description)) == (labels, 512)
    no_pipeline = await refused(ask.call("SavePipeline"))
    assert no_pipeline.fields == [("pipeline", "FIELD_REQUIRED")]


async def test_steps_have_a_limit_of_bytes_one_by_one_and_all_together(tmp_path: Path) -> None:
    async with asking(tmp_path, Limits(pipeline_bytes=40, pipelines_bytes=70, pipelines_steps=5)) as ask:
        assert await ask.saved("p", [{"render": {"template": "x" * 36}}]) == "p@1"  # two bytes around each of two
        told = await refused(ask.save("q", [{"render": {"template": "x" * 37}}]))
        assert told.fields == [("pipeline.steps", "FIELD_INVALID")]
        told = await refused(ask.save("q", [{"render": {"template": "x" * 36}}]))
        assert (told.code, told.reason, told.retry_after_s) == (Code.RESOURCE_EXHAUSTED, "STORE_FULL", None)
        told = await refused(ask.save("q", [{"spread": {}}] * 5))
        assert told.reason == "STORE_FULL"
        assert await ask.saved("p", [{"render": {"template": "x" * 36}}]) == "p@1", "what is there needs no room"
        await ask.call("DeletePipeline", name="p")
        assert await ask.saved("q", [{"spread": {}}] * 5) == "q@1"


async def test_a_save_whose_caller_left_is_seen_by_the_next(ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    is_stored, may_answer = asyncio.Event(), asyncio.Event()
    save = SqliteStore.save_pipeline

    async def held(self: SqliteStore, *given: Any) -> KeptPipeline:
        kept = await save(self, *given)
        is_stored.set()
        await may_answer.wait()
        return kept

    monkeypatch.setattr(SqliteStore, "save_pipeline", held)
    call: Any = ask.save("c")
    sent = asyncio.ensure_future(call)
    await is_stored.wait()
    call.cancel()
    await asyncio.wait([sent])
    assert await ask.listed() == ["c@1"]
    assert not await ask.known.pipelines.infos(), "not known yet"
    following: asyncio.Future[str] = asyncio.ensure_future(ask.saved("d", [{"named": "c@1"}]))
    may_answer.set()
    assert await following == "d@1", "it waited for the one before, and knows it"
    assert [info.name for info in await ask.known.pipelines.infos()] == ["c", "d"]


async def test_a_worker_cannot_take_a_name_while_a_pipeline_is_saved_under_it(
    ask: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Any = SimpleNamespace(limits=Limits())
    workers = app.workers_of(settings, {}, ask.known.pipelines, lambda _: False)
    is_saving, may_go_on = asyncio.Event(), asyncio.Event()
    save = SqliteStore.save_pipeline

    async def held(self: SqliteStore, *given: Any) -> KeptPipeline:
        is_saving.set()
        await may_go_on.wait()
        return await save(self, *given)

    async def joins() -> None:
        worker = await workers.join(Registration((WorkerStep("p"),)), lambda: None)
        workers.leave(worker)

    monkeypatch.setattr(SqliteStore, "save_pipeline", held)
    saving = asyncio.ensure_future(ask.saved("p"))
    await is_saving.wait()
    with pytest.raises(Conflict) as while_saving:
        await joins()
    may_go_on.set()
    await saving
    with pytest.raises(Conflict) as when_saved:
        await joins()
    assert while_saving.value.reason is when_saved.value.reason is Reason.STEP_EXISTS
    await ask.call("DeletePipeline", name="p")
    await joins()
