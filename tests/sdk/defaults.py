"""What the scripted server answers where a test does not say: small, true to the wire's contract, no model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from google.protobuf.struct_pb2 import Value

from stepwire.v1 import chat_pb2, embed_pb2, message_pb2, step_run_pb2
from tests.sdk import kept

DIMENSIONS = 8


def behaviours() -> dict[str, Any]:
    """Make the behaviour of each method; conversations are kept as long as the result is."""
    return {
        "Chat": _chat,
        "StreamChat": _stream_chat,
        "Converse": _converse,
        "CountTokens": _count_tokens,
        "ListModels": _list_models,
        "GetModel": _get_model,
        "ListEmbeddingModels": _list_embedding_models,
        "GetEmbeddingModel": _get_embedding_model,
        "Embed": _embed,
        "StreamEmbeddings": _stream_embeddings,
        "Search": _search,
        **kept.behaviours(),
        "RunStep": _run_step,
        "ListSteps": _list_steps,
        "ValidateStep": _validate_step,
    }


def chat_finished(reply: str) -> chat_pb2.ChatFinished:
    finished = chat_pb2.ChatFinished(
        reason=chat_pb2.FINISH_REASON_STOP,
        model="scripted-1",
        provider="scripted",
        usage=message_pb2.Usage(
            source=message_pb2.USAGE_SOURCE_PROVIDER, input_token_count=3, output_token_count=len(reply.split())
        ),
        messages=[message_pb2.Message(role="assistant", text=reply)],
    )
    finished.first_event_latency.FromMilliseconds(12)
    return finished


def echo(request: chat_pb2.StreamChatRequest | chat_pb2.ChatRequest) -> str:
    return f"you said {request.prompt or request.messages[-1].text}"


async def _chat(request: chat_pb2.ChatRequest, _: object) -> chat_pb2.ChatResponse:
    return chat_pb2.ChatResponse(text=echo(request), finished=chat_finished(echo(request)))


async def _stream_chat(
    request: chat_pb2.StreamChatRequest, _: object
) -> AsyncGenerator[chat_pb2.StreamChatResponse, None]:
    yield chat_pb2.StreamChatResponse(started=chat_pb2.ChatStarted(model="scripted-1", provider="scripted"))
    first, _, rest = echo(request).partition(" ")
    for piece in (first, f" {rest}"):
        yield chat_pb2.StreamChatResponse(text_delta=chat_pb2.TextDelta(text=piece, delta_count=1))
    yield chat_pb2.StreamChatResponse(finished=chat_finished(echo(request)))


async def _converse(
    requests: AsyncIterator[chat_pb2.ConverseRequest], _: object
) -> AsyncGenerator[chat_pb2.ConverseResponse, None]:
    turn = 0
    async for request in requests:
        turn += 1
        async for each in _stream_chat(request.chat, None):
            kind = each.WhichOneof("event")
            assert kind is not None
            yield chat_pb2.ConverseResponse(turn=turn, **{kind: getattr(each, kind)})


async def _count_tokens(request: chat_pb2.CountTokensRequest, _: object) -> chat_pb2.CountTokensResponse:
    return chat_pb2.CountTokensResponse(
        input_token_count=len(request.prompt.split()),
        source=message_pb2.USAGE_SOURCE_ESTIMATED,
        model="scripted-1",
        context_length=100,
    )


async def _list_models(request: chat_pb2.ListModelsRequest, _: object) -> chat_pb2.ListModelsResponse:
    if not request.page_token:  # two pages, so that whoever lists has to follow
        first = chat_pb2.Model(name="alpha", aliases=["gpt-4"], provider="scripted", is_default=True)
        return chat_pb2.ListModelsResponse(models=[first], next_page_token="2")
    return chat_pb2.ListModelsResponse(models=[chat_pb2.Model(name="beta", provider="scripted")])


async def _get_model(request: chat_pb2.GetModelRequest, _: object) -> chat_pb2.GetModelResponse:
    return chat_pb2.GetModelResponse(model=chat_pb2.Model(name=request.name or "alpha"))


async def _list_embedding_models(request: embed_pb2.ListEmbeddingModelsRequest, _: object) -> Any:
    return embed_pb2.ListEmbeddingModelsResponse(
        models=[embed_pb2.EmbeddingModel(name="tiny", dimensions=DIMENSIONS, provider="scripted", is_default=True)]
    )


async def _get_embedding_model(request: embed_pb2.GetEmbeddingModelRequest, _: object) -> Any:
    return embed_pb2.GetEmbeddingModelResponse(
        model=embed_pb2.EmbeddingModel(name=request.name or "tiny", dimensions=DIMENSIONS)
    )


def embedding(text: str, index: int) -> message_pb2.Embedding:
    return message_pb2.Embedding(values=[float(len(text))] * DIMENSIONS, model="tiny", index=index)


async def _embed(request: embed_pb2.EmbedRequest, _: object) -> embed_pb2.EmbedResponse:
    return embed_pb2.EmbedResponse(embeddings=[embedding(text, index) for index, text in enumerate(request.texts)])


async def _stream_embeddings(
    request: embed_pb2.StreamEmbeddingsRequest, _: object
) -> AsyncGenerator[embed_pb2.StreamEmbeddingsResponse, None]:
    for index, text in enumerate(request.texts):
        if text:
            yield embed_pb2.StreamEmbeddingsResponse(index=index, embedding=embedding(text, index))
        else:
            why = message_pb2.Failure(reason="INVALID_INPUT_TEXT", message="the text is empty", code=3)
            yield embed_pb2.StreamEmbeddingsResponse(index=index, failure=why)


async def _search(request: embed_pb2.SearchRequest, _: object) -> embed_pb2.SearchResponse:
    shared = {
        index: len(set(request.query.split()) & set(document.split()))
        for index, document in enumerate(request.documents)
    }
    ranked = sorted(shared, key=lambda index: -shared[index])[: request.top_k or None]
    hits = [embed_pb2.SearchHit(index=index, score=shared[index] / 10) for index in ranked]
    return embed_pb2.SearchResponse(hits=hits, model="tiny")


def _results(steps: Any, value: Value) -> list[tuple[list[int], Value | message_pb2.Failure]]:
    """Run `upper` on a text, or with `map` on each item of a list. Anything else fails."""
    items = list(value.list_value.values) if steps[0].HasField("map") else [value]
    return [
        (
            [index],
            Value(string_value=item.string_value.upper())
            if item.HasField("string_value")
            else message_pb2.Failure(reason="STEP_INPUT_INVALID", message="wants a text", code=3),
        )
        for index, item in enumerate(items)
    ]


def _metadata(outputs: int) -> step_run_pb2.StepMetadata:
    child = step_run_pb2.StepMetadata(
        step_path="steps[0]", type="map", inputs=1, outputs=outputs, outcome=step_run_pb2.STEP_OUTCOME_COMPLETED
    )
    child.duration.FromMilliseconds(7)
    return step_run_pb2.StepMetadata(outputs=outputs, outcome=step_run_pb2.STEP_OUTCOME_COMPLETED, steps=[child])


async def _run_step(
    request: step_run_pb2.RunStepRequest, _: object
) -> AsyncGenerator[step_run_pb2.RunStepResponse, None]:
    yield step_run_pb2.RunStepResponse(seq=1, started=step_run_pb2.RunStarted(run_id=request.run_id or "r1"))
    if request.events:
        stage = step_run_pb2.StageEvent(step_path="steps[0]", kind=step_run_pb2.STAGE_EVENT_KIND_STARTED)
        yield step_run_pb2.RunStepResponse(seq=2, path=[0, 1], stage=stage)
    results = _results(request.steps, request.input)
    failed = 0
    for path, result in results:
        if isinstance(result, Value):
            yield step_run_pb2.RunStepResponse(path=path, value=result)
        else:
            failed += 1
            yield step_run_pb2.RunStepResponse(path=path, failure=result)
    good = len(results) - failed
    end = step_run_pb2.RunFinished(results=good, errors=failed, metadata=_metadata(good))
    yield step_run_pb2.RunStepResponse(finished=end)


async def _list_steps(request: step_run_pb2.ListStepsRequest, _: object) -> step_run_pb2.ListStepsResponse:
    upper = step_run_pb2.StepInfo(name="upper", version="1", description="Writes in capitals.", provider="builtin")
    return step_run_pb2.ListStepsResponse(steps=[upper])


async def _validate_step(request: step_run_pb2.ValidateStepRequest, _: object) -> step_run_pb2.ValidateStepResponse:
    faults = [
        message_pb2.Violation(field=f"steps[{index}]", reason="STEP_GRAPH_INVALID", description="is empty")
        for index, step in enumerate(request.steps)
        if step.WhichOneof("kind") is None
    ]
    return step_run_pb2.ValidateStepResponse(violations=faults)
