"""The guide's own example, in its own spelling."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stepwire import Client, errors
from stepwire.guide import Conversation
from tests.sdk.pictures import PNG


@pytest.fixture(params=["local", "stored"])
def conv(request: pytest.FixtureRequest, real_target: str) -> Any:
    if request.param == "local":
        yield Conversation()
        return
    with Client(real_target) as client:
        yield Conversation(client, client.create_conversation().id)


def test_the_example_of_the_guide(conv: Conversation, tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(PNG)
    first = conv.AddMessage("user", "Hello, how can I help you?", {"id": "parent-message-id"})
    options = {
        "metadata": {"source": "config"},
        "parentID": "parent-message-id",
        "time": "2024-01-01T00:00:00Z",
        "id": "custom-id",
    }
    assert conv.AddMessage("system", "System prompt", options) == "custom-id"
    conv.AddMessageWithImage("user", "Here's an image", str(tmp_path / "image.png"))
    use = conv.AddToolUse("tool123", "searchCode", {"query": "find main function"})
    result = conv.AddToolResult("tool123", "Found main function in main.go")

    assert conv.GetMessageView(first) == "[user]: Hello, how can I help you?"
    assert conv.GetMessageView(use).startswith("ToolUseContent{")
    assert conv.GetMessageView(result).startswith("ToolResultContent{")
    assert conv.UpdateMetadata(first, {"processed": True}) is True
    assert conv.UpdateMetadata("nope", {"processed": True}) is False
    assert conv.GetSinglePrompt().endswith("[user]: Here's an image\n")
    assert len(conv.toGoConversation()["messages"]) == len(conv.ToGoConversation()["messages"]) == 5

    said, configured, shown, used, answered = conv.GetMessages()
    common = {"id", "parentID", "time", "lastUpdate", "metadata", "type"}
    assert set(said) == common | {"role", "text"}
    assert (said["type"], said["metadata"]) == ("chat-message", {"processed": True})
    assert (configured["id"], configured["parentID"]) == ("custom-id", "parent-message-id")
    assert configured["time"] == datetime(2024, 1, 1, tzinfo=UTC)
    [picture] = shown["images"]
    assert set(picture) == {"imageURL", "imageName", "mediaType", "detail"}
    assert (picture["imageName"], picture["mediaType"], picture["detail"]) == ("image.png", "image/png", "auto")
    assert set(used) == common | {"toolID", "name", "input", "toolType"}
    assert (used["input"], used["toolType"]) == ({"query": "find main function"}, "function")
    assert set(answered) == common | {"toolID", "result"}


def test_an_option_that_the_guide_does_not_know_is_a_mistake(conv: Conversation) -> None:
    with pytest.raises(TypeError, match="parent"):
        conv.AddMessage("user", "hi", {"parent": "x"})
    with pytest.raises(errors.InvalidRequest):
        conv.AddMessage("user", "hi", {"time": "soon"})
