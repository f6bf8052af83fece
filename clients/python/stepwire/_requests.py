"""Turns what people like to write in Python into the messages of the wire."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, EncodeError
from google.protobuf.message import Message as AnyMessage
from google.protobuf.timestamp_pb2 import Timestamp

from stepwire import errors
from stepwire._flow import Flow
from stepwire._functions import PLAIN, Callback, Functions, Manner
from stepwire.v1 import chat_pb2, conversation_pb2, message_pb2, step_run_pb2

C = TypeVar("C")
M = TypeVar("M", bound=AnyMessage)

#: A message: its text, its JSON (`{"role": "assistant", "text": "Hello"}`), in which `images` may hold what
#: `stepwire.image` makes, or the real thing.
MessageLike: TypeAlias = str | Mapping[str, Any] | message_pb2.Message

#: A step: the name of one, its JSON (`{"map": {"step": {"named": "upper"}}}`), what `stepwire.steps` makes, the real
#: thing, or a function of this program.
StepLike: TypeAlias = str | Mapping[str, Any] | step_run_pb2.Step | Flow | Callback

#: How to answer: JSON (`{"temperature": 0.2}`) or the real thing.
OptionsLike: TypeAlias = Mapping[str, Any] | chat_pb2.ChatOptions

#: A choice among the messages of a conversation.
View: TypeAlias = Literal["head_path", "path_to", "leftmost", "all"]

VIEWS: Mapping[View, conversation_pb2.MessageView] = {
    "head_path": conversation_pb2.MESSAGE_VIEW_HEAD_PATH,
    "path_to": conversation_pb2.MESSAGE_VIEW_PATH_TO,
    "leftmost": conversation_pb2.MESSAGE_VIEW_LEFTMOST,
    "all": conversation_pb2.MESSAGE_VIEW_ALL,
}


@contextmanager
def checked() -> Generator[None]:
    """Report what protobuf refuses while a request is made, such as half a surrogate pair, as our own error.

    Numbers that are too large are a `ValueError`; what is nested too deep is a `DecodeError`, as its bytes are copied.
    """
    try:
        yield
    except (json_format.ParseError, DecodeError, EncodeError, ValueError, OverflowError) as refused:
        raise errors.InvalidRequest(
            " ".join(str(refused).split()), code="INVALID_ARGUMENT", reason="FIELD_INVALID"
        ) from None


def message(value: MessageLike) -> message_pb2.Message:
    """Make one message; a text is the user's."""
    if isinstance(value, str):
        return message_pb2.Message(text=value)
    if isinstance(value, Mapping) and "images" in value:
        made = _made({name: part for name, part in value.items() if name != "images"}, message_pb2.Message)
        made.images.extend(_made(picture, message_pb2.Image) for picture in _several(value["images"], "images"))
        return made
    return _made(value, message_pb2.Message)


def messages(values: Iterable[MessageLike]) -> list[message_pb2.Message]:
    """Make messages, in order."""
    return [message(value) for value in _several(values, "messages")]


def options(value: OptionsLike | None) -> chat_pb2.ChatOptions | None:
    """Make options; None stays unset, so that the provider's own defaults hold."""
    return None if value is None else _made(value, chat_pb2.ChatOptions)


def steps(values: StepLike | Sequence[StepLike], functions: Functions | None = None) -> list[step_run_pb2.Step]:
    """Make steps, in order; a single one needs no list.

    Args:
        values: What people wrote.
        functions: Takes up the functions of this program; None where none can be called.
    """
    if isinstance(values, str | Mapping | step_run_pb2.Step | Flow) or callable(values):
        values = [values]
    if not isinstance(values, Iterable):
        why = f"{type(values).__name__} is no step: give a name, JSON, a function, what stepwire.steps makes, or a list"
        raise errors.InvalidRequest(why, code="INVALID_ARGUMENT", reason="FIELD_INVALID")
    taken = Functions() if functions is None else functions
    made = [step(value, taken) for value in values]
    if functions is None and len(taken):
        why = "the server cannot call a function of this program outside of its own runs: serve it with a worker"
        raise errors.InvalidRequest(why, code="INVALID_ARGUMENT", reason="FIELD_INVALID")
    return made


def step(value: StepLike, functions: Functions, manner: Manner = PLAIN) -> step_run_pb2.Step:
    """Make one step; `manner` is how it is called if it is a function of this program."""
    if isinstance(value, str):
        return step_run_pb2.Step(named=value)
    if isinstance(value, Flow):
        return value.make(functions, manner)
    if callable(value):
        return functions.step(value, manner)
    return _made(value, step_run_pb2.Step)


def metadata_update(merge: bool) -> conversation_pb2.MetadataUpdate:
    """Say what becomes of the metadata that is there."""
    return conversation_pb2.METADATA_UPDATE_MERGE if merge else conversation_pb2.METADATA_UPDATE_REPLACE


def timestamp(value: datetime | str | None) -> Timestamp | None:
    """Make a time of one that names its zone, or of a text such as `2024-01-01T00:00:00Z`; None stays unset."""
    if value is None:
        return None
    made = Timestamp()
    try:
        # Without a zone it would be read as UTC, which its writer may not have meant.
        made.FromJsonString(value if isinstance(value, str) else value.isoformat())
    except ValueError:
        why = f"`{value}` is no time with a zone, such as 2024-01-01T00:00:00Z"
        raise errors.InvalidRequest(why, code="INVALID_ARGUMENT", reason="INVALID_TIME") from None
    return made


def texts(values: Iterable[str], what: str) -> list[str]:
    """List texts, in order. A lone text would be taken for its letters, so it is refused."""
    return list(_several(values, what))


def choice(name: str, value: object, table: Mapping[Any, C]) -> C:
    """What the wire calls one of a few words.

    Raises:
        errors.InvalidRequest: It is none of them.
    """
    # What cannot be a key, such as a list, is none of them either.
    if not isinstance(value, str | None) or value not in table:
        known = ", ".join(str(word) for word in table if word is not None)
        why = f"{name}: `{value}` is none of {known}"
        raise errors.InvalidRequest(why, code="INVALID_ARGUMENT", reason="FIELD_INVALID")
    return table[value]


def _several(values: Iterable[M | Any], what: str) -> Iterable[Any]:
    if isinstance(values, str | Mapping | AnyMessage):
        raise TypeError(f"`{what}` is a list, not {type(values).__name__}")
    return values


def _made(value: Mapping[str, Any] | M, kind: type[M]) -> M:
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise TypeError(f"{kind.__name__} or its JSON is needed, not {type(value).__name__}")
    return json_format.ParseDict(dict(value), kind())
