"""What becomes of messages in parts, and of those without a word."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from stepwired.errors import InvalidRequest
from stepwired.events import Image, Message, Role, ToolResult
from stepwired.limits import Limits
from stepwired.web.convert.chat import chat_request

USER: dict[str, Any] = {"role": "user", "content": "hi"}
A, B = b"picture a", b"picture b"


def picture(data: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(data).decode()}"}}


def texts(*parts: str) -> list[Any]:
    return [{"type": "text", "text": part} for part in parts]


def read(*messages: dict[str, Any]) -> tuple[Message, ...]:
    return chat_request({"messages": list(messages)}, Limits()).request.messages


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (["a", "b"], "a\nb"),
        (["a", "", "b"], "a\nb"),
        (["", "a", ""], "a"),
        (["a\n", " b "], "a\n\n b "),
        (["a"], "a"),
    ],
)
def test_texts_of_one_message_are_lines_of_it(parts: list[str], text: str) -> None:
    assert read({"role": "user", "content": texts(*parts)}) == (Message(Role.USER, text),)
    assert read({"role": "system", "content": texts(*parts)}, USER)[0] == Message(Role.SYSTEM, text)
    assert read(USER, {"role": "tool", "tool_call_id": "c", "content": texts(*parts)})[1] == Message(
        Role.TOOL, tool_result=ToolResult("c", text)
    )


def test_pictures_among_texts_keep_their_order() -> None:
    content = [picture(A), *texts("first"), picture(B), *texts("second")]
    assert read({"role": "user", "content": content}) == (
        Message(Role.USER, "first\nsecond", images=(Image(data=A), Image(data=B))),
    )


@pytest.mark.parametrize("content", ["", [], texts(""), texts("", "")])
def test_users_who_said_nothing_are_left_out_where_others_follow(content: Any) -> None:
    empty = {"role": "user", "content": content}
    assistant = {"role": "assistant", "content": "Yes?"}
    assert read(empty, assistant, USER) == (Message(Role.ASSISTANT, "Yes?"), Message(Role.USER, "hi"))


@pytest.mark.parametrize(
    ("messages", "place"),
    [
        ([USER, {"role": "user", "content": ""}], "messages[1]"),
        ([USER, {"role": "user", "content": ""}, {"role": "assistant", "content": ""}], "messages[1]"),
        ([{"role": "user", "content": texts("")}], "messages[0]"),
        ([{"role": "user"}, USER], "messages[0]"),
        ([{"role": "user", "content": None}, USER], "messages[0]"),
    ],
)
def test_there_is_no_reply_to_nothing(messages: list[Any], place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(*messages)
    assert [violation.field for violation in caught.value.violations] == [place]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("data:image/png;base64,***", "FIELD_INVALID"),
        ("data:image/png,abc", "FIELD_INVALID"),
        ("data:image/png;base64,", "FIELD_REQUIRED"),
        ("ftp://example.com/a.png", "FIELD_INVALID"),
        ("file:///etc/passwd", "FIELD_INVALID"),
        ("", "FIELD_REQUIRED"),
        (
            f"data:image/png;base64,{base64.b64encode(b'x' * (Limits().inline_image_bytes + 1)).decode()}",
            "IMAGE_TOO_LARGE",
        ),
    ],
)
def test_images_with_faults_are_refused(url: str, reason: str) -> None:
    content = [{"type": "image_url", "image_url": {"url": url}}]
    with pytest.raises(InvalidRequest) as caught:
        read({"role": "user", "content": content})
    found = {violation.field: violation.reason.value for violation in caught.value.violations}
    assert found == {"messages[0].content[0].image_url.url": reason}
