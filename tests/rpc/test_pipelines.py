"""Pipelines over the wire, on a real store; a scripted registry knows the other steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from stepwire.v1 import pipeline_pb2
from stepwired.errors import Reason, Violation
from stepwired.limits import Limits
from stepwired.rpc import pipelines as served
from stepwired.steps import spec
from stepwired.steps.named import NamedStep
from stepwired.steps.pipelines import Pipelines
from stepwired.steps.sources import Found, SavedPipeline
from stepwired.steps.spec import Spec
from stepwired.store.sqlite import SqliteStore
from tests.rpc.keeping import refused
from tests.rpc.serving import Client, serve

Code = grpc.StatusCode
UP: list[dict[str, Any]] = [{"named": "upper"}]


@dataclass
class Known:
    """Knows `upper` and `lower`, a worker's `far`, and what is saved."""

    pipelines: Pipelines
    claimed: list[str] = field(default_factory=list)
    """Names that nobody else could take while a pipeline was looked at."""

    async def find(self, name: str) -> Found | None:
        if name in {"upper", "lower", "far"}:
            return NamedStep(name, str, provider="worker" if name == "far" else "builtin")
        return await self.pipelines.find(name, "")

    async def validate(self, steps: Sequence[Spec]) -> tuple[Violation, ...]:
        self.claimed = [name for name in ("p", "q") if self.pipelines.has(name)]
        return tuple([found async for found in self._faults(steps)])

    async def _faults(self, steps: Iterable[Spec]) -> AsyncGenerator[Violation]:
        for step in steps:
            if step.kind is None:
                yield Violation(step.path, "says nothing to do", Reason.STEP_GRAPH_INVALID)
            if isinstance(step.kind, spec.Named) and step.kind.name not in {"upper", "lower", "far"}:
                name, _, version = step.kind.name.partition("@")
                if await self.pipelines.find(name, version) is None:
                    yield Violation(f"{step.path}.named", "no such step", Reason.STEP_GRAPH_INVALID)
            async for found in self._faults(spec.inside(step.kind)):
                yield found


class Asking:
    """Calls by name: `await ask.Get(name="p")`."""

    def __init__(self, client: Client, known: Known) -> None:
        self._stub: Any = client.pipelines
        self.known = known

    def save(self, name: str = "p", steps: Any = None, **more: Any) -> Awaitable[Any]:
        pipeline = {"name": name, "steps": UP if steps is None else steps, **more}
        return self.call("SavePipeline", pipeline=pipeline)  # type: ignore[no-any-return]

    async def saved(self, *given: Any, **more: Any) -> str:
        pipeline = (await self.save(*given, **more)).pipeline
        return f"{pipeline.name}@{pipeline.version}"

    def call(self, method: str, **fields: Any) -> Any:
        request = getattr(pipeline_pb2, f"{method}Request")
        return getattr(self._stub, method)(json_format.ParseDict(fields, request()))

    async def listed(self, **fields: Any) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            page = await self.call("ListPipelines", page_token=token, **fields)
            found += [f"{each.name}@{each.version}" for each in page.pipelines]
            if not (token := page.next_page_token):
                return found


@asynccontextmanager
async def asking(folder: Path, limits: Limits | None = None) -> AsyncGenerator[Asking]:
    limits = limits or Limits()
    store = await SqliteStore.open(folder, limits=limits, durability="relaxed")
    pipelines = Pipelines(limits)
    await served.load(store, pipelines, limits)
    known = Known(pipelines)
    steps: Any = known
    try:
        async with serve(store=store, steps=steps, limits=limits, pipelines=pipelines) as client:
            yield Asking(client, known)
    finally:
        await store.close()


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


# --- reading ---


async def test_lists_show_the_highest_of_each_or_all_of_one_without_steps_in_pages(ask: Asking) -> None:
    for name in ("b", "a", "c"):
        for version in ("1.9", "1.10"):
            await ask.save(name, version=version, description=version)
    for page_size in (0, 1, 2, 3):
        assert await ask.listed(page_size=page_size) == ["a@1.10", "b@1.10", "c@1.10"]
        assert await ask.listed(page_size=page_size, name="b") == ["b@1.10", "b@1.9"]
    [first, *_] = (await ask.call("ListPipelines")).pipelines
    whole = (await ask.call("GetPipeline", name="a")).pipeline
    whole.ClearField("steps")
    assert first == whole
    assert await ask.listed(name="nobody") == []


async def test_page_tokens_are_for_the_list_that_made_them(ask: Asking) -> None:
    await ask.save("a", description="1")
    await ask.save("a", description="2")
    await ask.save("b")
    token = (await ask.call("ListPipelines", page_size=1)).next_page_token
    for wrong in ({"name": "a", "page_token": token}, {"page_token": "x"}):
        told = await refused(ask.call("ListPipelines", **wrong))
        assert (told.code, told.reason) == (Code.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN")
    for size in (-1, 1001):
        told = await refused(ask.call("ListPipelines", page_size=size))
        assert told.fields == [("page_size", "FIELD_INVALID")]


async def test_a_page_of_large_pipelines_stays_below_what_a_client_reads(ask: Asking) -> None:
    schema = {"const": "x" * 65_000}
    names = [f"p{number:03}" for number in range(80)]
    for name in names:
        await ask.save(name, input_schema=schema)
    page = await ask.call("ListPipelines", page_size=1000)
    assert 3_900_000 < page.ByteSize() <= 4 * 1024 * 1024
    assert page.next_page_token
    assert await ask.listed(page_size=1000) == [f"{name}@1" for name in names]


@pytest.mark.parametrize("method", ["GetPipeline", "DeletePipeline"])
async def test_what_is_not_there_is_not_found_and_what_cannot_be_a_name_is_invalid(ask: Asking, method: str) -> None:
    await ask.save("p", version="2")
    for fields in ({"name": "q"}, {"name": "p", "version": "1"}, {"name": "p", "version": "2.0"}):
        told = await refused(ask.call(method, **fields))
        assert (told.code, told.reason) == (Code.NOT_FOUND, "PIPELINE_NOT_FOUND")
    told = await refused(ask.call(method))
    assert told.fields == [("name", "FIELD_REQUIRED")]
    told = await refused(ask.call(method, name="p@2", version="latest"))
    assert told.fields == [("name", "FIELD_INVALID"), ("version", "FIELD_INVALID")]


# --- deleting ---


async def test_a_deletion_takes_one_version_or_all_and_runs_no_longer_find_them(ask: Asking) -> None:
    for text in "abc":
        await ask.save(description=text)
    assert (await ask.call("DeletePipeline", name="p", version="3")).version_count == 1
    assert (await ask.known.pipelines.find("p", "") or SavedPipeline("", "", ())).version == "2"
    assert (await ask.call("DeletePipeline", name="p")).version_count == 2
    assert await ask.known.pipelines.find("p", "") is None
    assert await ask.listed() == []


# --- the process ---


async def test_another_process_finds_them_again(tmp_path: Path) -> None:
    async with asking(tmp_path) as ask:
        await ask.save("inner", [{"take": {"count": 3}}], input_schema={"type": "array"})
        await ask.save("p", [{"named": "inner"}], description="d")
        expected = [await ask.known.pipelines.find(name, "") for name in ("inner", "p")]
    async with asking(tmp_path) as ask:
        assert [await ask.known.pipelines.find(name, "") for name in ("inner", "p")] == expected
        assert [(info.name, info.description) for info in await ask.known.pipelines.infos()] == [
            ("inner", ""),
            ("p", "d"),
        ]
        assert await ask.saved("p", [{"named": "inner"}], description="d") == "p@1"


async def test_one_that_a_lowered_limit_forbids_is_kept_but_does_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with asking(tmp_path) as ask:
        await ask.save("wide", [{"named": "upper", "buffer": 9}])
    async with asking(tmp_path, Limits(step_buffer=8)) as ask:
        assert "pipeline wide@1 cannot run: steps[0].buffer" in caplog.text
        found = await ask.known.pipelines.find("wide", "")
        assert found is not None
        assert [step.kind for step in found.steps] == [None], "which is refused wherever it is named"
        assert (await ask.call("GetPipeline", name="wide")).pipeline.steps[0].buffer == 9


async def test_a_save_whose_caller_left_is_seen_by_the_next(ask: Asking) -> None:
    await ask.save("a")
    await ask.save("b", [{"named": "a"}])
    for number in range(20):
        call = ask.save("c", [{"named": "b"}], description=str(number))
        sent = asyncio.ensure_future(call)
        for _ in range(number):
            await asyncio.sleep(0)
        sent.cancel()
        await asyncio.wait([sent])
    await ask.call("GetPipeline", name="a")
    stored = await ask.listed(name="c")
    known = [f"c@{info.version}" for info in await ask.known.pipelines.infos() if info.name == "c"]
    assert set(known) <= {f"c@{number}" for number in range(1, 21)}
    await ask.save("d")  # behind all of them
    assert [f"c@{info.version}" for info in await ask.known.pipelines.infos() if info.name == "c"] == await ask.listed(
        name="c"
    )
    assert set(stored) <= set(await ask.listed(name="c"))
