"""A slow reader is told how many events it has lost."""

from __future__ import annotations

from typing import Any

from stepwire import AsyncClient, StageEvent, steps
from stepwire.v1 import step_run_pb2 as wire
from tests.sdk.scripted import Server


def losing(server: Server) -> None:
    """Send two events of a step, seven being lost between them, and not that it has completed."""

    async def run(request: Any, context: Any) -> Any:
        for kind, lost in ((wire.STAGE_EVENT_KIND_STARTED, 0), (wire.STAGE_EVENT_KIND_STARTED, 7)):
            yield wire.RunStepResponse(stage=wire.StageEvent(step_path="steps[0]", kind=kind, dropped_before=lost))
        yield wire.RunStepResponse(finished=wire.RunFinished())

    server.on["RunStep"] = run


async def test_an_event_says_how_many_were_lost_before_it(client: AsyncClient, server: Server) -> None:
    losing(server)
    events = [event async for event in client.run_events("upper") if isinstance(event, StageEvent)]
    assert [event.dropped_before for event in events] == [0, 7]


async def test_the_end_of_a_step_is_told_once_even_if_its_event_was_lost(client: AsyncClient, server: Server) -> None:
    losing(server)
    told: list[str] = []
    watched = steps.with_events(
        "upper", on_start=lambda _: told.append("start"), on_complete=lambda: told.append("complete")
    )
    assert await client.collect(watched) == []
    assert told == ["start", "start", "complete"]
