"""The client against the real server and the real local models: what the scripted one only claims."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from stepwire import AsyncClient, Client, Finished, RunFinished, StageEvent, Started, errors
from stepwire.cli.app import cli

BRIEF = {"max_tokens": 16, "temperature": 0}


@pytest.fixture
def client(real_target: str) -> Generator[Client]:
    with Client(real_target) as made:
        yield made


def test_a_model_answers_and_says_who_it_is(client: Client) -> None:
    reply = client.chat("Say hello.", model="gpt-4", options=BRIEF)
    assert reply.text
    assert "smollm2" in reply.finished.model
    assert (reply.finished.usage.output_tokens or 0) > 0
    assert [message.text for message in reply.finished.messages] == [reply.text]


def test_a_streamed_reply_is_that_of_its_last_event(client: Client) -> None:
    events = list(client.stream_chat("Say hello.", options=BRIEF))
    assert isinstance(events[0], Started)
    last = events[-1]
    assert isinstance(last, Finished)
    assert "".join(event.text for event in events) == "".join(message.text for message in last.messages)
    assert last.first_event_latency_s is not None


async def test_a_client_may_leave_any_number_of_replies_and_is_served_again(real_target: str) -> None:
    async with AsyncClient(real_target) as client:
        for _ in range(10):
            async with aclosing(client.stream_chat("Tell me a very long story.")) as events:
                async for event in events:
                    if event.text:
                        break
        assert str(await client.chat("Say hello.", options=BRIEF))


def test_vectors_are_unit_vectors_of_384_numbers(client: Client) -> None:
    vectors = client.embed(["a kitten sleeps", "the market fell"])
    assert vectors.shape == (2, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1], abs=1e-3)
    [again] = client.stream_embeddings(["a kitten sleeps"])
    assert again.vector is not None
    assert again.vector @ vectors[0] == pytest.approx(1, abs=1e-2)


def test_search_finds_the_kitten(client: Client) -> None:
    hits = client.search("cat", ["the market fell", "a kitten sleeps"])
    assert [hit.text for hit in hits] == ["a kitten sleeps", "the market fell"]
    assert hits[0].score > hits[1].score


def test_a_pipeline_streams_results_with_paths_and_metadata(client: Client) -> None:
    steps: list[dict[str, Any]] = [{"map": {"step": {"named": "upper"}}}, {"embed": {}}]
    events = list(client.run_events(steps, ["a", "b"]))
    assert any(isinstance(event, StageEvent) for event in events)
    assert isinstance(events[-1], RunFinished)
    assert events[-1].results == 2
    results = list(client.run(steps, ["a", "b"]))
    assert [result.value.shape for result in results] == [(384,), (384,)]
    assert results[0].path < results[1].path
    collected = client.collect([{"map": {"step": {"named": "upper"}}}], ["a", "b"])
    assert collected == ["A", "B"]
    assert collected.metadata.outputs == 2


def test_an_item_that_fails_keeps_its_place(client: Client) -> None:
    results = list(client.run([{"map": {"step": {"named": "upper"}}}], ["a", 1, "c"]))
    assert [result.value for result in results] == ["A", None, "C"]
    assert isinstance(results[1].error, errors.InvalidRequest)
    assert results[1].error.reason == "STEP_INPUT_INVALID"
    with pytest.raises(errors.InvalidRequest) as caught:
        client.collect([{"map": {"step": {"named": "upper"}}}], ["a", 1])
    assert caught.value.reason == "STEP_INPUT_INVALID"


def test_a_conversation_keeps_what_was_said(client: Client) -> None:
    made = client.create_conversation(title="cats", messages=["My name is Ada."], metadata={"n": 1})
    client.append(made.id, [{"role": "assistant", "text": "Hello, Ada."}])
    reply = client.chat("What is my name?", conversation_id=made.id, options=BRIEF)
    texts = ["My name is Ada.", "Hello, Ada.", "What is my name?", reply.text]
    assert [message.text for message in client.messages(made.id)] == texts
    assert client.conversation(made.id).message_count == 4
    assert client.render(made.id).startswith("[user]: My name is Ada.\n[assistant]: Hello, Ada.\n")


def test_every_fault_of_a_request_is_told_at_once_with_the_request_id(client: Client) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        client.chat(messages=[{"role": "banana", "text": "hi"}], options={"temperature": 9})
    assert {fault.field for fault in caught.value.violations} == {"messages[0].role", "options.temperature"}
    assert caught.value.request_id


@pytest.mark.parametrize("kind", ["chat", "stream_chat"])
def test_an_unknown_model_is_not_found(client: Client, kind: str) -> None:
    with pytest.raises(errors.NotFound) as caught:
        list(getattr(client, kind)("hi", model="nope"))
    assert caught.value.reason == "MODEL_NOT_FOUND"
    assert caught.value.request_id
    assert caught.value.metadata["model"] == "nope"


def test_other_failures_have_their_reasons(client: Client) -> None:
    with pytest.raises(errors.NotFound, match="CONVERSATION_NOT_FOUND"):
        client.conversation("nope")
    with pytest.raises(errors.InvalidRequest, match="INVALID_CONVERSATION"):
        client.chat()
    with pytest.raises(errors.InvalidRequest, match="STEP_GRAPH_INVALID"):
        list(client.run("no-such-step", "a"))
    assert [fault.field for fault in client.validate([{"map": {}}])] == ["steps[0].map.step"]
    client.create_conversation(conversation_id="twice")
    with pytest.raises(errors.Conflict, match="CONVERSATION_EXISTS"):
        client.create_conversation(conversation_id="twice")
    with pytest.raises(errors.InvalidRequest, match="INVALID_INPUT_TEXT"):
        client.embed(["a", " "])


def test_what_the_server_offers_is_listed(client: Client) -> None:
    assert any(model.is_default for model in client.models())
    assert client.model("gpt-4").name == client.model().name
    assert [model.dimensions for model in client.embedding_models()] == [384]
    assert {"upper", "join", "lines"} <= {step.name for step in client.list_steps()}


def test_the_demo_runs_against_a_server_of_its_own(real_data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = real_data_dir.parent / f"{real_data_dir.name}-demo"
    folder.mkdir()
    (folder / "models").symlink_to((real_data_dir / "models").resolve())
    monkeypatch.setattr("stepwire.cli.frame.DEFAULT_TARGET", "127.0.0.1:1")
    monkeypatch.delenv("STEPWIRE_SERVER", raising=False)
    result = CliRunner().invoke(cli, ["demo"], env={"STEPWIRE_DATA_DIR": str(folder)})
    assert result.exit_code == 0, result.output
    assert "starting one for this demo" in result.stderr
    ranked = [line for line in result.stdout.splitlines() if "kitten sleeps" in line or "market" in line]
    assert "kitten" in ranked[0]
    assert "THE SEA" in result.stdout
    assert "cancelled after 12 pieces" in result.stderr
