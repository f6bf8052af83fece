"""Pipelines over the wire, as they are read and deleted, and found again by another process."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import grpc
import pytest

from stepwired.limits import Limits
from stepwired.steps.sources import SavedPipeline
from tests.rpc.keeping import refused
from tests.rpc.saving import Asking, asking
from tests.store.talk import on_writer

Code = grpc.StatusCode


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncGenerator[Asking]:
    async with asking(tmp_path) as made:
        yield made


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


async def test_a_damaged_one_is_left_out_and_keeps_nobody_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with asking(tmp_path) as ask:
        await ask.save("good")
        await ask.save("bad")
        await on_writer(ask.store, "UPDATE pipeline SET steps = x'ff' WHERE name = 'bad'")
    async with asking(tmp_path) as ask:
        assert "pipeline bad@1 is left out" in caplog.text
        assert [info.name for info in await ask.known.pipelines.infos()] == ["good"]
        told = await refused(ask.call("GetPipeline", name="bad"))
        assert told.reason == "STORE_CORRUPT"
        await ask.call("DeletePipeline", name="bad")
        assert await ask.saved("bad") == "bad@1"
