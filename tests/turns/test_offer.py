from __future__ import annotations

import pytest

from stepwired.errors import InvalidRequest, Reason
from stepwired.events import Tool
from stepwired.turns.offer import offered, offering
from tests.turns.scripted import SCHEMA, Model, Steps, asking, sunny, told, turn

STEPS = Steps({"weather": sunny})


async def test_a_tool_takes_from_its_step_what_it_does_not_say_itself() -> None:
    given = asking(Tool("a", schema=b"", step="weather"), Tool("b", "Mine.", b'{"type":"object"}', step="weather"))
    first, second = (await offered(given, STEPS)).options.tools
    assert (first.description, first.schema) == ("What it does.", SCHEMA)
    assert (second.description, second.schema) == ("Mine.", b'{"type":"object"}')


async def test_each_step_that_may_not_be_a_tool_is_named_before_anybody_is_asked() -> None:
    model = Model(turn("never"))
    chat = offering(model, STEPS)
    given = asking(Tool("a", step="rm"), Tool("mine"), Tool("b", step="weather"), Tool("c", step="secret@2"))
    with pytest.raises(InvalidRequest) as refused:
        await told(chat, given)
    assert refused.value.reason is Reason.TOOL_NOT_ALLOWED
    assert [violation.field for violation in refused.value.violations] == [
        "options.tools[0].step",
        "options.tools[3].step",
    ]
    assert not model.asked


async def test_tools_of_the_caller_are_none_of_our_business() -> None:
    model = Model(turn("hi"))
    given = asking(Tool("mine"))
    await told(offering(model, STEPS), given)
    assert model.asked == [given]
    assert await offered(given, STEPS) is given
