"""Functions to give a model as tools, and a model that asks for them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any, Literal, TypedDict

from stepwire.v1 import chat_pb2, message_pb2
from tests.sdk.scripted import finished, started, text


def weather(city: str, unit: Literal["C", "F"] = "C") -> str:
    """Tell the weather of a city."""
    return f"12 {unit} in {city}"


async def wait(seconds: Annotated[float, "How long."]) -> dict[str, Any]:
    """Wait."""
    return {"waited": seconds}


def uses(*calls: tuple[str, str, dict[str, Any]]) -> list[chat_pb2.StreamChatResponse]:
    """The end of a turn that asks for tools: id, name and input of each."""
    end = chat_pb2.ChatFinished(reason=chat_pb2.FINISH_REASON_TOOL_USE, model="scripted-1", provider="scripted")
    events = []
    for index, (tool_id, name, arguments) in enumerate(calls):
        use = message_pb2.ToolUse(tool_id=tool_id, name=name)
        use.input.update(arguments)
        end.messages.add(role="assistant", tool_use=use)
        events.append(chat_pb2.StreamChatResponse(tool_call=chat_pb2.ToolCall(index=index, tool_use=use)))
    return [*events, chat_pb2.StreamChatResponse(finished=end)]


class Talker:
    """Answers Converse: with these turns, then with the last result that it was given."""

    def __init__(self, *turns: list[chat_pb2.StreamChatResponse]) -> None:
        self.turns = list(turns)
        self.heard: list[chat_pb2.ConverseRequest] = []

    async def __call__(
        self, requests: AsyncIterator[chat_pb2.ConverseRequest], _: Any
    ) -> AsyncGenerator[chat_pb2.ConverseResponse, None]:
        turn = due = 0
        async for request in requests:
            self.heard.append(request)
            due -= request.HasField("tool_result")
            if due > 0:
                continue
            turn += 1
            last = request.tool_result.result or request.chat.prompt
            events = self.turns.pop(0) if self.turns else [text(last), finished(last)]
            due = sum(event.tool_call.HasField("tool_use") for event in events)
            for event in (started(), *events):
                kind = event.WhichOneof("event")
                assert kind is not None
                yield chat_pb2.ConverseResponse(turn=turn, **{kind: getattr(event, kind)})


class Place(TypedDict):
    name: str
    near: list[str]


def anything(*things: str) -> None: ...
