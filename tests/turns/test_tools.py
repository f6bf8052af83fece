from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, suppress
from typing import Any

import pytest

from stepwired.errors import Failure, Misconfigured, Reason, StepFailed
from stepwired.events import (
    FinishReason,
    Message,
    Restarted,
    Role,
    Started,
    TextDelta,
    Tool,
    ToolAnswered,
    ToolCalled,
    ToolResult,
)
from stepwired.limits import Limits
from stepwired.turns.running import AT_ONCE
from stepwired.turns.tools import with_tools
from tests.turns.scripted import (
    USAGE,
    WEATHER,
    Model,
    Steps,
    asking,
    kinds,
    sunny,
    text_since_restart,
    the_end,
    told,
    turn,
    use,
)

OSLO = use("weather", city="Oslo")


async def test_a_tool_of_the_server_is_run_and_its_answer_goes_back_until_the_model_answers() -> None:
    model = Model(turn("Let me ", "see. ", uses=(OSLO,)), turn("It is ", "sunny."))
    steps = Steps({"weather": sunny}, facts={"run_id": "r"})
    events = await told(with_tools(model, steps), asking())
    assert kinds(events) == [
        *["Started", "TextDelta", "TextDelta", "ToolCallDelta", "ToolCalled", "ToolAnswered"],
        *["TextDelta", "TextDelta", "Finished"],
    ]
    end = the_end(events)
    answer = Message(Role.TOOL, tool_result=ToolResult("weather-0", "sunny"), metadata={"run": {"run_id": "r"}})
    assert end.messages == (
        Message(Role.ASSISTANT, "Let me see. "),
        Message(Role.ASSISTANT, tool_use=OSLO),
        answer,
        Message(Role.ASSISTANT, "It is sunny."),
    )
    assert (end.reason, end.turns, len(end.attempts)) == (FinishReason.STOP, 2, 2)
    assert (end.usage.input_tokens, end.usage.output_tokens, end.usage.cost_usd) == (20, 10, 1.0)
    assert text_since_restart(events) == "".join(message.text for message in end.messages)
    assert steps.ran == [("weather", {"city": "Oslo"})]
    assert model.asked[1].messages == (*asking().messages, *end.messages[:3])
    assert model.open == 0


async def test_a_request_without_such_tools_is_passed_on_untouched() -> None:
    model = Model(turn("hi", uses=(use("mine"),)))
    chat = with_tools(model, Steps({}))
    for request in (asking(Tool("mine")), asking(tool_choice="none")):
        events = await told(chat, request)
        assert model.asked[-1] is request
        assert "ToolAnswered" not in kinds(events)


async def test_the_last_turn_is_asked_without_the_tools_of_the_server() -> None:
    model = Model(turn(uses=(OSLO,)), turn(uses=(use("weather", 1),)), turn("enough"))
    mine = Tool("mine")
    events = await told(with_tools(model, Steps({"weather": sunny})), asking(WEATHER, mine, max_turns=3))
    assert [[tool.name for tool in asked.options.tools] for asked in model.asked] == [
        ["weather", "mine"],
        ["weather", "mine"],
        ["mine"],
    ]
    assert the_end(events).turns == 3


async def test_a_model_that_calls_what_it_is_no_longer_offered_is_not_obeyed() -> None:
    model = Model(turn(uses=(OSLO,)))
    steps = Steps({"weather": sunny})
    end = the_end(await told(with_tools(model, steps), asking(max_turns=2)))
    assert (len(model.asked), len(steps.ran)) == (2, 1)
    assert (end.reason, end.turns) == (FinishReason.TOOL_USE, 2)


@pytest.mark.parametrize("choice", ["required", "weather"])
async def test_a_forced_choice_holds_for_the_first_turn_alone(choice: str) -> None:
    model = Model(turn(uses=(OSLO,)), turn("done"))
    await told(with_tools(model, Steps({"weather": sunny})), asking(tool_choice=choice))
    assert [asked.options.tool_choice for asked in model.asked] == [choice, ""]


async def test_beside_a_tool_of_the_caller_ours_answer_and_the_caller_is_next() -> None:
    model = Model(turn(uses=(OSLO, use("mine"))))
    end = the_end(await told(with_tools(model, Steps({"weather": sunny})), asking(WEATHER, Tool("mine"))))
    assert (end.reason, end.turns, len(model.asked)) == (FinishReason.TOOL_USE, 1, 1)
    assert [message.tool_use.name for message in end.messages if message.tool_use] == ["weather", "mine"]
    assert [message.tool_result.tool_id for message in end.messages if message.tool_result] == ["weather-0"]


async def test_a_turn_that_was_cut_off_runs_nothing() -> None:
    steps = Steps({"weather": sunny})
    end = the_end(await told(with_tools(Model(turn(uses=(OSLO,), reason=FinishReason.LENGTH)), steps), asking()))
    assert (steps.ran, end.reason) == ([], FinishReason.LENGTH)


async def test_what_fails_is_an_answer_with_reason_and_message_and_nothing_else() -> None:
    async def fail(_: Any) -> str:
        raise StepFailed(Reason.STEP_EXECUTION_FAILED, "step weather failed: KeyError", metadata={"secret": "x"})

    model = Model(turn(uses=(OSLO,)), turn("sorry"))
    events = await told(with_tools(model, Steps({"weather": fail})), asking())
    result = next(event.tool_result for event in events if isinstance(event, ToolAnswered))
    assert result.is_error
    assert json.loads(result.result) == {
        "error": {"reason": "STEP_EXECUTION_FAILED", "message": "step weather failed: KeyError"}
    }
    assert the_end(events).messages[-1].text == "sorry"


async def test_a_failure_that_would_meet_every_input_ends_the_call_and_all_that_runs() -> None:
    async def fail(_: Any) -> str:
        raise Misconfigured(Reason.PROVIDER_API_KEY_INVALID, "bad key")

    async def wait(_: Any) -> str:
        await asyncio.Event().wait()
        return ""

    slow = Tool("slow", step="slow")
    steps = Steps({"weather": fail, "slow": wait})
    model = Model(turn(uses=(use("slow"), OSLO)))
    with pytest.raises(Failure) as failed:
        await told(with_tools(model, steps), asking(slow, WEATHER))
    assert failed.value.reason is Reason.PROVIDER_API_KEY_INVALID
    assert (steps.cancelled, steps.at_once, model.open) == (1, 0, 0)


async def test_a_tool_that_takes_too_long_is_cancelled_and_the_model_is_told() -> None:
    async def wait(_: Any) -> str:
        await asyncio.Event().wait()
        return ""

    steps = Steps({"weather": wait})
    model = Model(turn(uses=(OSLO,)), turn("later then"))
    events = await told(with_tools(model, steps), asking(tool_timeout_s=0.001))
    result = next(event.tool_result for event in events if isinstance(event, ToolAnswered))
    assert (result.is_error, json.loads(result.result)["error"]["reason"]) == (True, "STEP_TIMEOUT")
    assert (steps.cancelled, steps.at_once) == (1, 0)


async def test_a_tool_that_does_not_let_itself_be_ended_is_late_all_the_same() -> None:
    async def stay(_: Any) -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "here I am"

    model = Model(turn(uses=(OSLO,)), turn("done"))
    events = await told(with_tools(model, Steps({"weather": stay})), asking(tool_timeout_s=0.001))
    [answered] = [event.tool_result for event in events if isinstance(event, ToolAnswered)]
    assert answered.is_error
    assert "STEP_TIMEOUT" in answered.result


async def test_a_timeout_of_the_tools_own_is_no_deadline_of_ours() -> None:
    async def fail(_: Any) -> str:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await told(with_tools(Model(turn(uses=(OSLO,))), Steps({"weather": fail})), asking())


async def test_tools_run_side_by_side_but_no_more_than_eight_and_answers_stand_in_the_order_of_their_calls() -> None:
    gate, at_work = asyncio.Event(), asyncio.Semaphore(0)

    async def wait(value: Any) -> str:
        at_work.release()
        await gate.wait()
        return str(value["n"])

    steps = Steps({"weather": wait})
    uses = tuple(use("weather", number, n=number) for number in range(12))
    chat = with_tools(Model(turn(uses=uses), turn("done")), steps)
    running = asyncio.create_task(told(chat, asking()))
    for _ in range(AT_ONCE):
        await at_work.acquire()
    assert steps.at_once == AT_ONCE
    gate.set()
    end = the_end(await running)
    assert steps.most_at_once == AT_ONCE
    results = [message.tool_result.result for message in end.messages if message.tool_result]
    assert results == [str(number) for number in range(12)]


async def test_an_answer_is_told_when_it_is_there_and_not_when_all_are() -> None:
    async def wait(_: Any) -> str:
        await asyncio.Event().wait()
        return ""

    slow = Tool("slow", step="slow")
    steps = Steps({"weather": sunny, "slow": wait})
    chat = with_tools(Model(turn(uses=(use("slow"), OSLO))), steps)
    async with aclosing(chat(asking(slow, WEATHER))) as batches:
        async for batch in batches:
            if isinstance(batch[-1], ToolAnswered):
                assert batch[-1].tool_result.tool_id == "weather-0"
                break
    assert (steps.cancelled, steps.at_once) == (1, 0), "closing the reply ended what ran"


async def test_long_answers_are_cut_with_a_note_each_and_all_together() -> None:
    async def talk(_: Any) -> str:
        return "ä" * 100

    limits = Limits(tool_result_bytes=51, tool_results_bytes=60)
    uses = tuple(use("weather", number) for number in range(3))
    end = the_end(await told(with_tools(Model(turn(uses=uses), turn("x")), Steps({"weather": talk}), limits), asking()))
    results = [message.tool_result.result for message in end.messages if message.tool_result]
    assert results[0] == "ä" * 25 + "\n[cut: the first 51 of 200 bytes]"
    assert results[1] == "ä" * 4 + "\n[cut: the first 9 of 200 bytes]"
    assert results[2] == "[cut: the first 0 of 200 bytes]"


async def test_after_so_many_runs_the_model_is_asked_for_the_last_time() -> None:
    uses = (use("weather", 0), use("weather", 1))
    model = Model(turn(uses=uses), turn("done"))
    await told(with_tools(model, Steps({"weather": sunny}), Limits(tool_runs=2)), asking())
    assert [len(asked.options.tools) for asked in model.asked] == [1, 0]


async def test_indexes_of_tool_calls_count_on_from_turn_to_turn() -> None:
    model = Model(turn(uses=(OSLO, use("weather", 1))), turn(uses=(use("weather", 2),)), turn("done"))
    events = await told(with_tools(model, Steps({"weather": sunny})), asking())
    assert [event.index for event in events if isinstance(event, ToolCalled)] == [0, 1, 2]


async def test_when_a_later_turn_begins_again_what_was_before_is_told_again_and_no_tool_runs_twice() -> None:
    again = turn("It is sunny.")
    broken = [[Started("m", "p")], [TextDelta("It ")], [Restarted(2, "PROVIDER_ERROR", "m2", "p2")], *again[1:]]
    steps = Steps({"weather": sunny})
    events = await told(with_tools(Model(turn("Well. ", uses=(OSLO,)), broken), steps), asking())
    names = kinds(events)
    after = names[names.index("Restarted") :]
    assert after == ["Restarted", "TextDelta", "ToolCalled", "ToolAnswered", "TextDelta", "Finished"]
    end = the_end(events)
    assert text_since_restart(events) == "".join(message.text for message in end.messages) == "Well. It is sunny."
    assert len(steps.ran) == 1


async def test_restarts_are_counted_over_all_turns() -> None:
    restart = [Restarted(2, "PROVIDER_ERROR", "m", "p")]
    first, second = turn(uses=(OSLO,)), turn("done")
    model = Model([first[0], restart, *first[1:]], [second[0], restart, *second[1:]])
    events = await told(with_tools(model, Steps({"weather": sunny})), asking())
    assert [event.attempt for event in events if isinstance(event, Restarted)] == [2, 3]


async def test_tools_that_ask_models_with_tools_end_at_a_depth() -> None:
    model = Model(*[turn(uses=(OSLO,))] * 2, turn("never"))
    asked = 0

    async def recurse(_: Any) -> str:
        nonlocal asked
        asked += 1
        inner = Model(turn(uses=(OSLO,)), turn("inner"))
        return the_end(await told(with_tools(inner, steps, limits), asking())).messages[-1].text

    limits = Limits(tool_depth=2)
    steps = Steps({"weather": recurse})
    events = await told(with_tools(model, steps, limits), asking(max_turns=2))
    assert asked == 2
    result = next(event.tool_result for event in events if isinstance(event, ToolAnswered))
    assert result.result == "inner", "the one below was told that it is too deep, and could say so"


async def test_a_failure_of_the_model_is_the_failure_of_the_reply() -> None:
    failure = StepFailed(Reason.PROVIDER_ERROR, "no")
    model = Model(turn(uses=(OSLO,)), [failure])
    with pytest.raises(StepFailed):
        await told(with_tools(model, Steps({"weather": sunny})), asking())


async def test_usage_is_that_of_one_turn_where_there_was_one() -> None:
    assert the_end(await told(with_tools(Model(turn("hi")), Steps({"weather": sunny})), asking())).usage == USAGE
