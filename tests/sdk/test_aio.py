"""Every call of the asyncio client: what it sends and what it makes of the answer."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from stepwire import (
    AsyncClient,
    ChatOptions,
    Finished,
    Message,
    ReasoningDelta,
    RunFinished,
    RunStarted,
    StageEvent,
    Started,
    Step,
    StepResult,
    TextDelta,
    _values,
    errors,
)
from stepwire.v1 import chat_pb2, embed_pb2, message_pb2, step_run_pb2
from tests.sdk.scripted import Server, finished, started, text


async def test_a_reply_is_its_text_and_says_how_it_ended(client: AsyncClient) -> None:
    reply = await client.chat("hi")
    assert str(reply) == reply.text == "you said hi"
    assert reply.finished.reason == "stop"
    assert reply.finished.model == "scripted-1"
    assert reply.finished.usage.output_tokens == 3
    assert reply.finished.usage.reasoning_tokens is None
    assert reply.finished.first_event_latency_s == pytest.approx(0.012)
    assert reply.finished.branched is None


async def test_the_texts_of_all_events_joined_are_the_reply(client: AsyncClient) -> None:
    events = [event async for event in client.stream_chat("hi")]
    assert [type(event) for event in events] == [Started, TextDelta, TextDelta, Finished]
    assert "".join(event.text for event in events) == "you said hi"


async def test_what_a_model_thinks_is_no_part_of_the_reply(client: AsyncClient, server: Server) -> None:
    async def thinks(request: Any, context: Any) -> Any:
        yield started()
        yield chat_pb2.StreamChatResponse(reasoning_delta=chat_pb2.ReasoningDelta(text="hm"))
        yield text("yes")
        yield finished("yes")

    server.on["StreamChat"] = thinks
    events = [event async for event in client.stream_chat("hi")]
    assert [event.reasoning for event in events if isinstance(event, ReasoningDelta)] == ["hm"]
    assert "".join(event.text for event in events) == "yes"


async def test_everything_a_chat_can_say_arrives(client: AsyncClient, server: Server) -> None:
    await client.chat(
        "And now?",
        messages=["hi", {"role": "assistant", "text": "Hello"}, Message(role="user", text="Well")],
        model="alpha",
        system="Be brief.",
        conversation_id="c1",
        parent_id="m1",
        options={"temperature": 0, "max_tokens": 5, "stop": ["."]},
    )
    sent = server.script.last("Chat")
    assert [(message.role, message.text) for message in sent.messages] == [
        ("", "hi"),
        ("assistant", "Hello"),
        ("user", "Well"),
    ]
    assert (sent.prompt, sent.model, sent.system) == ("And now?", "alpha", "Be brief.")
    assert (sent.conversation_id, sent.parent_id) == ("c1", "m1")
    assert sent.options.HasField("temperature")
    assert (sent.options.temperature, sent.options.max_tokens, list(sent.options.stop)) == (0, 5, ["."])
    assert not sent.options.HasField("top_p")


async def test_options_may_be_the_real_thing_and_are_unset_by_default(client: AsyncClient, server: Server) -> None:
    await client.chat("hi", options=ChatOptions(seed=7))
    assert server.script.last("Chat").options.seed == 7
    await client.chat("hi")
    assert not server.script.last("Chat").HasField("options")


async def test_an_option_that_does_not_exist_is_an_invalid_request(client: AsyncClient, server: Server) -> None:
    with pytest.raises(errors.InvalidRequest, match="temprature"):
        await client.chat("hi", options={"temprature": 1})
    assert server.script.calls == []


async def test_half_a_surrogate_pair_is_an_invalid_request(client: AsyncClient) -> None:
    with pytest.raises(errors.InvalidRequest, match="surrogate"):
        await client.chat("\ud83d")


@pytest.mark.parametrize("lone", ["cat", {"text": "cat"}, Message(text="cat")])
async def test_a_lone_thing_where_a_list_is_needed_is_refused(client: AsyncClient, lone: Any) -> None:
    with pytest.raises(TypeError, match="is a list"):
        await client.embed(lone)
    with pytest.raises(TypeError, match="is a list"):
        await client.chat(messages=lone)


async def test_a_reply_without_its_last_event_has_failed(client: AsyncClient, server: Server) -> None:
    async def cut(request: Any, context: Any) -> Any:
        yield started()
        yield text("half a rep")

    server.on["StreamChat"] = cut
    events = client.stream_chat("hi")
    assert [(await anext(events)).text for _ in range(2)] == ["", "half a rep"]
    with pytest.raises(errors.ServerError, match="last event"):
        await anext(events)


async def test_an_event_of_a_later_version_is_passed_over(client: AsyncClient, server: Server) -> None:
    async def newer(request: Any, context: Any) -> Any:
        yield started()
        yield chat_pb2.StreamChatResponse()
        yield finished("")

    server.on["StreamChat"] = newer
    assert [type(event) async for event in client.stream_chat("hi")] == [Started, Finished]


async def test_lists_are_followed_to_their_last_page(client: AsyncClient, server: Server) -> None:
    assert [model.name for model in await client.models()] == ["alpha", "beta"]
    assert server.script.count("ListModels") == 2
    assert [model.name for model in await client.embedding_models()] == ["tiny"]
    assert [step.name for step in await client.list_steps()] == ["upper"]


async def test_one_model_is_described(client: AsyncClient) -> None:
    assert (await client.model()).name == "alpha"
    assert (await client.model("beta")).name == "beta"
    assert (await client.embedding_model("tiny")).dimensions == 8


async def test_vectors_are_one_float32_array_in_the_order_of_the_texts(client: AsyncClient) -> None:
    vectors = await client.embed(["a", "bbb"])
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[1.0] * 8, [3.0] * 8]


async def test_no_texts_are_no_vectors_and_no_call(client: AsyncClient, server: Server) -> None:
    assert (await client.embed([])).shape == (0, 0)
    assert server.script.calls == []


async def test_all_but_embeddings_works_without_numpy_and_they_say_what_is_missing(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)  # as if it were not installed
    assert (await client.chat("hi")).text
    assert await client.search("a", ["b"])
    with pytest.raises(ImportError, match=r"pip install 'stepwire\[numpy\]'"):
        await client.embed(["a"])


async def test_more_texts_than_a_call_takes_travel_in_several(client: AsyncClient, server: Server) -> None:
    vectors = await client.embed("x" * (1 + index % 3) for index in range(600))
    assert vectors[:, 0].tolist() == [1.0 + index % 3 for index in range(600)]
    assert [len(request.texts) for _, request in server.script.calls] == [256, 256, 88]


async def test_a_missing_vector_is_the_servers_fault(client: AsyncClient, server: Server) -> None:
    async def one(request: Any, context: Any) -> embed_pb2.EmbedResponse:
        return embed_pb2.EmbedResponse(embeddings=[message_pb2.Embedding(values=[1.0])])

    server.on["Embed"] = one
    with pytest.raises(errors.ServerError, match="as many vectors"):
        await client.embed(["a", "b"])


async def test_vectors_that_differ_in_length_are_the_servers_fault(client: AsyncClient, server: Server) -> None:
    async def uneven(request: Any, context: Any) -> embed_pb2.EmbedResponse:
        rows = [message_pb2.Embedding(values=[1.0]), message_pb2.Embedding(values=[1.0, 2.0])]
        return embed_pb2.EmbedResponse(embeddings=rows)

    server.on["Embed"] = uneven
    with pytest.raises(errors.ServerError, match="length"):
        await client.embed(["a", "b"])


async def test_streamed_texts_fail_each_by_itself(client: AsyncClient) -> None:
    outcomes = [outcome async for outcome in client.stream_embeddings(["a", "", "ccc"])]
    assert [outcome.index for outcome in outcomes] == [0, 1, 2]
    good, bad, _ = outcomes
    assert good.error is None
    assert good.vector is not None
    assert good.vector.dtype == np.float32
    assert bad.vector is None
    assert isinstance(bad.error, errors.InvalidRequest)
    assert bad.error.reason == "INVALID_INPUT_TEXT"


async def test_indices_go_on_over_the_calls_of_a_long_stream(client: AsyncClient, server: Server) -> None:
    indices = [outcome.index async for outcome in client.stream_embeddings(["x"] * 2050)]
    assert indices == list(range(2050))
    assert server.script.count("StreamEmbeddings") == 2


async def test_hits_hold_their_document_best_first(client: AsyncClient, server: Server) -> None:
    hits = await client.search("a b", ["x", "a b", "a"], top_k=2)
    assert [(hit.index, hit.text) for hit in hits] == [(1, "a b"), (2, "a")]
    assert server.script.last("Search").top_k == 2


async def test_a_conversation_is_made_filled_read_and_rendered(client: AsyncClient, server: Server) -> None:
    created = await client.create_conversation(title="cats", messages=["hi"], metadata={"tags": ["a"], "n": 1})
    assert server.script.last("CreateConversation").metadata["n"] == 1
    appended = await client.append(created.id, [{"role": "assistant", "text": "Hello"}], keep_head=True)
    assert (appended.message_ids, appended.conversation.revision) == (["m2"], 3)
    assert server.script.last("AppendMessages").keep_head
    assert (await client.conversation(created.id)).message_count == 2
    assert [message.text async for message in client.messages(created.id, view="all")] == ["hi", "Hello"]
    assert await client.render(created.id) == "[user]: hi\n[assistant]: Hello\n"


async def test_a_run_yields_results_and_errors_in_their_places(client: AsyncClient, server: Server) -> None:
    results = [result async for result in client.run([{"map": {"step": {"named": "upper"}}}], ["a", 1, "c"])]
    assert [(result.path, result.value) for result in results] == [((0,), "A"), ((1,), None), ((2,), "C")]
    assert isinstance(results[1].error, errors.InvalidRequest)
    assert not server.script.last("RunStep").events


async def test_all_events_of_a_run_can_be_had(client: AsyncClient) -> None:
    events = [event async for event in client.run_events("upper", "a", run_id="mine")]
    assert [type(event) for event in events] == [RunStarted, StageEvent, StepResult, RunFinished]
    assert isinstance(events[0], RunStarted)
    assert events[0].run_id == "mine"
    assert isinstance(events[1], StageEvent)
    assert events[1].path == (0, 1)
    assert isinstance(events[-1], RunFinished)
    assert events[-1].results == 1
    assert events[-1].metadata.steps[0].type == "map"


async def test_a_run_without_its_last_event_has_failed(client: AsyncClient, server: Server) -> None:
    async def cut(request: Any, context: Any) -> Any:
        yield step_run_pb2.RunStepResponse(seq=1, started=step_run_pb2.RunStarted(run_id="r"))

    server.on["RunStep"] = cut
    with pytest.raises(errors.ServerError, match="last event"):
        async for _ in client.run("upper", "a"):
            pass


async def test_each_kind_of_result_becomes_what_python_calls_it(client: AsyncClient, server: Server) -> None:
    async def kinds(request: Any, context: Any) -> Any:
        yield step_run_pb2.RunStepResponse(value=_values.to_value({"n": 2}))
        yield step_run_pb2.RunStepResponse(embedding=message_pb2.Embedding(values=[0.5, 1]))
        yield step_run_pb2.RunStepResponse(message=Message(role="assistant", text="Hello"))
        yield step_run_pb2.RunStepResponse(data=b"\0\1")
        yield step_run_pb2.RunStepResponse(finished=step_run_pb2.RunFinished(results=4))

    server.on["RunStep"] = kinds
    json, vector, message, data = [result async for result in client.run("x")]
    assert json.value == {"n": 2}
    assert isinstance(json.value["n"], int)
    assert vector.value.dtype == np.float32
    assert vector.value.tolist() == [0.5, 1]
    assert message.text == "Hello"
    assert data.value == b"\0\1"


async def test_collected_results_are_a_list_of_values_with_metadata(client: AsyncClient, server: Server) -> None:
    collected = await client.collect([Step(map={"step": {"named": "upper"}})], ["a", "b"])
    assert collected == ["A", "B"]
    assert collected.metadata.steps[0].outputs == 2
    assert collected.results[1].path == (1,)
    assert server.script.last("RunStep").error_mode == step_run_pb2.ERROR_MODE_FAIL_FAST


async def test_an_error_may_keep_its_place_among_collected_results(client: AsyncClient) -> None:
    first, second = await client.collect([{"map": {"step": {"named": "upper"}}}], ["a", 1], on_error="continue")
    assert first == "A"
    assert isinstance(second, errors.InvalidRequest)


async def test_the_faults_of_a_spec_are_an_answer(client: AsyncClient) -> None:
    assert await client.validate("upper") == []
    assert [fault.field for fault in await client.validate(["upper", {}])] == ["steps[1]"]
    with pytest.raises(errors.InvalidRequest, match="nmaed"):
        await client.validate([{"nmaed": "upper"}])
