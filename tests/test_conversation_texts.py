"""Messages as text: one, or the prompt of several."""

from __future__ import annotations

import pytest

from stepwired import conversation
from stepwired.conversation import RenderFormat
from stepwired.events import Message, Role, ToolResult, ToolUse
from tests.growing import text

FENCED = "```py\nx = 1\n```\n\n"
TOOL_USE = Message(role=Role.ASSISTANT, tool_use=ToolUse("t1", "find", {"query": "x", "n": 1, "é": [None, True]}))
TOOL_RESULT = Message(role=Role.TOOL, tool_result=ToolResult("t1", "two\nlines\n"))


@pytest.mark.parametrize(
    ("message", "brackets", "geppetto"),
    [
        (text("", "hello\n\n"), "[user]: hello", "(user): hello"),
        (text("", " a\nb ", role=Role.SYSTEM), "[system]:  a\nb ", "(system):  a\nb "),
        (text("", FENCED, role=Role.ASSISTANT), "[assistant]: ```py\nx = 1\n```", "(assistant): \n```py\nx = 1\n```"),
        (TOOL_USE, *['ToolUseContent{ToolID: t1, Name: find, Input: {"n":1,"query":"x","é":[null,true]}}'] * 2),
        (TOOL_RESULT, *["ToolResultContent{ToolID: t1, Result: two\nlines\n}"] * 2),
    ],
)
def test_a_message_is_written_exactly_so(message: Message, brackets: str, geppetto: str) -> None:
    assert conversation.view(message) == brackets
    assert conversation.view(message, RenderFormat.GEPPETTO) == geppetto


def test_a_prompt_of_nothing_is_empty_and_of_one_chat_message_its_bare_text() -> None:
    assert conversation.single_prompt([]) == ""
    assert conversation.single_prompt([text("", "hello\n")]) == "hello\n"
    assert conversation.single_prompt([text("", "hello")], RenderFormat.GEPPETTO) == "hello"


def test_a_prompt_of_several_has_a_line_for_each_chat_message_with_its_text_as_it_is() -> None:
    messages = [text("", "S", role=Role.SYSTEM), text("", "a\n"), TOOL_USE, TOOL_RESULT, text("", FENCED)]
    assert conversation.single_prompt(messages) == f"[system]: S\n[user]: a\n\n[user]: {FENCED}\n"
    assert (
        conversation.single_prompt(messages, RenderFormat.GEPPETTO) == f"(system): S\n(user): a\n\n(user): \n{FENCED}\n"
    )


def test_a_prompt_shows_tools_when_asked_and_a_lone_tool_message_is_no_bare_text() -> None:
    line = '[tool-use find]: {"n":1,"query":"x","é":[null,true]}\n'
    assert conversation.single_prompt([TOOL_USE], include_tools=True) == line
    assert conversation.single_prompt([TOOL_USE]) == ""
    both = conversation.single_prompt([text("", "q"), TOOL_USE, TOOL_RESULT], include_tools=True)
    assert both == f"[user]: q\n{line}[tool-result]: two\nlines\n\n"
