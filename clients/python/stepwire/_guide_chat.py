"""The guide's chat steps, in its own spelling: `stepwire.guide` has what is here."""

# ruff: noqa: N802  the guide's names

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from google.protobuf import json_format

import stepwire
from stepwire import _requests, errors, steps
from stepwire._flow import Flow
from stepwire._guide_steps import GuideStep
from stepwire._requests import StepLike
from stepwire.results import RunResults
from stepwire.v1.chat_pb2 import ChatOptions, StreamChatRequest
from stepwire.v1.message_pb2 import Message

#: An option of `newStep`: names and values, or a function of the step that returns None or what is wrong.
Option: TypeAlias = "Mapping[str, Any] | Callable[[ChatStep], object]"

_FIELDS = [*StreamChatRequest.DESCRIPTOR.fields, *ChatOptions.DESCRIPTOR.fields]
_WIRE_NAMES = {field.json_name: field.name for field in _FIELDS}
"""What the wire calls that which the guide spells as `maxTokens`."""

_OF_REQUEST = {field.name for field in StreamChatRequest.DESCRIPTOR.fields}
"""What belongs to the request and not to its options: `model`, `system`, `conversation_id` and so on."""


class ChatStep(GuideStep):
    """A step whose input is a conversation and whose one result is the text of the reply. Made by `ChatStepFactory`.

    Its input is a `Conversation`, or `{"messages": [{"role": …, "content": …}], "temperature": …, "maxTokens": …}`, or
    whatever else a chat step takes. `startWithCallbacks` gives the text piece by piece, as it comes.

    Args:
        client: Runs it.
        options: How to answer, in the guide's spelling; functions among the options of `newStep` may change them.
    """

    def __init__(self, client: stepwire.Client, options: Mapping[str, Any]) -> None:
        self.settings = dict(options)
        self._client = client
        super().__init__(steps.create_step(input=self._request, process=self._whole()), client)

    async def startAsync(self, input: Any = None, options: Mapping[str, Any] | None = None) -> RunResults:  # noqa: A002
        request = await asyncio.to_thread(self._request, input)  # the server may have to be asked for the messages
        return await self._started(self._whole()).startAsync(request, options)

    def startBlocking(self, input: Any = None) -> RunResults:  # noqa: A002
        return self._started(self._whole()).startBlocking(self._request(input))

    def startWithCallbacks(
        self,
        input: Any = None,  # noqa: A002
        callbacks: Mapping[str, Callable[..., object]] | None = None,
    ) -> Callable[[], None]:
        return self._started(steps.chat(emit="deltas")).startWithCallbacks(self._request(input), callbacks)

    StartAsync = startAsync
    StartBlocking = startBlocking
    StartWithCallbacks = startWithCallbacks

    def _started(self, step: StepLike) -> GuideStep:
        return GuideStep(steps.compose([step]), self._client)

    @staticmethod
    def _whole() -> Flow:
        return steps.compose([steps.chat(), "text"])

    def _request(self, value: Any) -> Any:
        """Write an input as the chat step of the server takes it; what the input itself says wins."""
        request: dict[str, Any] = {"options": {}}
        _put(request, self.settings)
        if (messages := _conversation(value)) is not None:
            return {**request, "messages": [json_format.MessageToDict(message) for message in messages]}
        if isinstance(value, Mapping) and "role" not in value:
            _put(request, {name: each for name, each in value.items() if name not in {"messages", "prompt"}})
            if "messages" in value:
                request["messages"] = _said(value["messages"])
            if "prompt" in value:
                request["prompt"] = value["prompt"]
            return request
        return {**request, "messages": _said(_several(value))}


class ChatStepFactory:
    """Makes chat steps for one client.

        factory = ChatStepFactory(client)
        step = factory.newStep([{"temperature": 0.7, "maxTokens": 200}])
        print("".join(step.startBlocking({"messages": [{"role": "user", "content": "Hello"}]})))

    Args:
        client: Runs the steps.
    """

    def __init__(self, client: stepwire.Client) -> None:
        self._client = client

    def newStep(self, options: Sequence[Option] = ()) -> ChatStep:
        """Make a step.

        Args:
            options: In order, the later ones win. An object has `model`, `system` and options of a chat; a function
                is given the step, may change its `settings`, and returns None or an error.

        Raises:
            Exception: What a function returned, if that was an exception.
            errors.InvalidRequest: A function returned another error, as a text.
        """
        if isinstance(options, Mapping) or callable(options):
            raise TypeError("newStep takes a list of options")
        step = ChatStep(self._client, {})
        for option in options:
            if isinstance(option, Mapping):
                step.settings.update(_named(option))
            elif (refused := option(step)) is not None:
                if isinstance(refused, Exception):
                    raise refused
                raise errors.InvalidRequest(str(refused), code="INVALID_ARGUMENT", reason="MODEL_CONFIG_INVALID")
        return step

    new_step = newStep
    NewStep = newStep


def _put(request: dict[str, Any], options: Mapping[str, Any]) -> None:
    """Sort options into a request.

    Raises:
        errors.InvalidRequest: There is no such option, or it cannot be what it is.
    """
    for name, value in _named(options).items():
        (request if name in _OF_REQUEST else request["options"])[name] = value
    with _requests.checked():  # the server would not say which it was
        _requests.options(request["options"])


def _named(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give options the names of the wire, those that lie in `options` too."""
    named: dict[str, Any] = {}
    for name, value in options.items():
        if name == "options":
            given = json_format.MessageToDict(value) if isinstance(value, ChatOptions) else value
            named.update(_named(given or {}))
        else:
            named[_WIRE_NAMES.get(name, name)] = value
    return named


def _conversation(value: Any) -> Sequence[Message] | None:
    """What a conversation has for a model; None if it is none."""
    if isinstance(value, stepwire.Conversation):
        return value.get_messages()
    return value._protos() if hasattr(value, "_protos") else None


def _several(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else [value]


def _said(messages: Iterable[Any]) -> list[Any]:
    """Write messages, but no empty replies: a chat that was cancelled before its first word leaves them behind."""
    return [_message(each) for each in messages if not _is_empty_reply(each)]


def _is_empty_reply(value: Any) -> bool:
    if isinstance(value, Message):
        return value.role == "assistant" and not (
            value.text or value.images or value.HasField("tool_use") or value.HasField("tool_result")
        )
    if not isinstance(value, Mapping) or value.get("role") != "assistant" or value.keys() - {"role", "content", "text"}:
        return False
    return not (value.get("content") or value.get("text"))


def _message(value: Any) -> Any:
    """Write a message as the server's JSON has it: the guide calls its text `content`."""
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, Message):
        return json_format.MessageToDict(value)
    if isinstance(value, Mapping) and "content" in value:
        return {**{name: each for name, each in value.items() if name != "content"}, "text": value["content"]}
    return value
