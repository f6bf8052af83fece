"""Both spellings of the guide, and what its handlers and loops rely on."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Generator
from functools import partial
from typing import Any

import pytest

from stepwire import Client, Message, errors, guide, steps
from tests.sdk.scripted import Server

CLASSES = [
    guide.ChatStep,
    guide.ChatStepFactory,
    guide.Conversation,
    guide.Embeddings,
    guide.GuideStep,
    guide.Steps,
]


@pytest.fixture(scope="module")
def client(target: str) -> Generator[Client]:
    with Client(target) as client:
        client.list_steps()  # the connection belongs to all tests
        yield client


@pytest.fixture(params=["local", "stored"])
def conv(request: pytest.FixtureRequest, client: Client) -> guide.Conversation:
    if request.param == "local":
        return guide.Conversation()
    return guide.Conversation(client, client.create_conversation().id)


@pytest.fixture(scope="module")
def made(client: Client) -> guide.Steps:
    return guide.Steps(client)


@pytest.mark.parametrize("kind", CLASSES)
def test_each_method_of_the_guide_answers_to_both_spellings(kind: type) -> None:
    base = {"make", "on", "options", "proto", "new_step"}  # of every flow, which is none of the guide's
    names = [name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_") and name not in base]
    assert names
    for name in names:
        other = (name[0].lower() if name[0].isupper() else name[0].upper()) + name[1:]
        assert getattr(kind, other) is getattr(kind, name)


def test_both_spellings_of_a_map_step_run(made: guide.Steps) -> None:
    assert made.CreateMapStep(str).StartBlocking([1, 2]) == ["1", "2"]
    assert made.Compose([made.CreateStep({"process": str}), made.WithEvents(str, {})]).StartBlocking(1) == ["1"]


def test_a_step_may_be_started_without_callbacks(made: guide.Steps) -> None:
    made.createMapStep(str).startWithCallbacks([1])()


def test_no_step_is_registered_under_the_name_of_something_else(made: guide.Steps) -> None:
    for name in ("compose", "Compose", "RegisterStep"):
        with pytest.raises(TypeError, match=f"`steps.{name}` is something else"):
            made.RegisterStep(name, str)
    made.RegisterStep("again", str)
    made.RegisterStep("again", repr)
    assert made.again.startBlocking("a") == ["'a'"]


def _count(x: int, state: dict[str, int]) -> int:
    state["count"] += 1
    if x < 0:
        raise ValueError("no")
    return x * state["count"]


async def _count_later(x: int, state: dict[str, int]) -> int:
    return _count(x, state)


def _whole(x: int, state: dict[str, int]) -> dict[str, Any]:
    count = state["count"] + 1
    return {"output": x * count, "state": {"count": count}}


def _several(x: int, state: dict[str, int]) -> dict[str, Any]:
    count = state["count"] + 1
    return {"state": {"count": count}, "outputs": [x * count]}


def _pair(x: int, state: dict[str, int]) -> tuple[int, dict[str, int]]:
    count = state["count"] + 1
    return x * count, {"count": count}


@pytest.mark.parametrize("step", [_count, _count_later, _whole, _several, _pair, partial(_count_later)])
def test_a_function_may_change_the_state_or_return_it(made: guide.Steps, step: Any) -> None:
    initial = {"count": 0}
    flow = made.compose([steps.spread(), made.withState({"initialState": initial, "step": step})])
    assert flow.startBlocking([5, 5, 5]) == flow.startBlocking([5, 5, 5]) == [5, 10, 15]
    assert initial == {"count": 0}


def test_a_function_that_fails_leaves_the_state_as_it_was(made: guide.Steps, client: Client) -> None:
    flow = steps.compose([steps.spread(), made.withState({"initialState": {"count": 0}, "step": _count})])
    first, failed, second = client.collect(flow, [5, -1, 5], on_error="continue")
    assert (first, second) == (5, 10)
    assert isinstance(failed, errors.StepFailed)


def test_what_only_looks_like_a_state_is_a_result(made: guide.Steps) -> None:
    def more(x: int, state: Any) -> dict[str, Any]:
        return {"output": x, "state": "of the union", "more": True}

    assert made.withState({"step": more}).startBlocking(1) == [more(1, None)]
    assert made.withState({"step": "upper"}).proto.state.step.named == "upper"  # it is asked as it is


def test_an_empty_reply_is_not_kept_and_its_id_stands_for_the_message_before_it(conv: guide.Conversation) -> None:
    first = conv.AddMessage("assistant", "")  # before anything else: as if it were not there
    assert uuid.UUID(first).version == 4
    said = conv.AddMessage("user", "Hello", {"parentID": first})
    empty = conv.AddMessage("assistant", "")
    again = conv.AddMessage("assistant", "", {})
    assert len({first, said, empty, again}) == 4
    conv.AddMessage("user", "Once more", {"parentID": again})
    conv.AddMessage("user", "And here", {"parentID": empty})
    messages = {each["text"]: each for each in conv.GetMessages()}
    assert set(messages) == {"Hello", "And here"}
    assert messages["And here"]["parentID"] == said
    assert conv.UpdateMetadata(empty, {}) is False
    parents = {each["text"]: each.get("parentId") for each in conv.toGoConversation()["messages"]}
    assert parents == {"Hello": None, "Once more": said, "And here": said}
    for options in ({"metadata": {"a": 1}}, {"id": "x"}):
        with pytest.raises(errors.InvalidRequest):
            conv.AddMessage("assistant", "", options)
    with pytest.raises(errors.InvalidRequest):
        conv.AddMessage("user", "")


def test_an_empty_reply_stands_for_what_was_said_before_the_conversation_was_opened(client: Client) -> None:
    made = client.create_conversation(messages=["Hello", "Are you there?"])
    conv = guide.Conversation(client, made.id)
    empty = conv.AddMessage("assistant", "")
    for text in ("One", "Two"):
        conv.AddMessage("user", text, {"parentID": empty})
    conv.AddMessage("user", "Three")
    added = {each["text"]: each for each in conv.toGoConversation()["messages"]}
    before = added["Are you there?"]["id"]
    assert (added["One"]["parentId"], added["Two"]["parentId"]) == (before, before)
    assert added["Three"]["parentId"] == added["Two"]["id"]


def test_tools_may_be_given_the_options_of_any_message(conv: guide.Conversation) -> None:
    said = conv.AddMessage("user", "Where?")
    conv.AddToolUse("t1", "look", {}, {"id": "use", "metadata": {"a": 1}})
    conv.AddToolResult("t1", "here", {"id": "answer", "parentID": "use"})
    _, use, answer = conv.GetMessages()
    assert (use["parentID"], use["metadata"]) == (said, {"a": 1})
    assert (answer["id"], answer["parentID"]) == ("answer", "use")


def test_an_empty_id_is_none_and_an_unknown_option_is_refused(conv: guide.Conversation) -> None:
    assert uuid.UUID(conv.AddMessage("user", "Hello", {"id": ""})).version == 4
    with pytest.raises(TypeError, match="`parentId` is no option"):
        conv.AddMessage("user", "Hello", {"parentId": "x"})


EMPTY: list[Any] = [
    {"role": "assistant", "content": ""},
    {"role": "assistant", "content": None},
    {"role": "assistant", "text": ""},
    Message(role="assistant"),
]


@pytest.mark.parametrize("empty", EMPTY)
def test_a_chat_leaves_out_what_a_cancelled_reply_left_behind(blocking: Client, far_server: Server, empty: Any) -> None:
    step = guide.ChatStepFactory(blocking).newStep()
    messages = [{"role": "user", "content": "One"}, empty, {"role": "user", "content": "Two"}]
    for given in ({"messages": messages}, messages):
        step.startBlocking(given)
        request = far_server.script.last("RunStep")
        sent = request.input.struct_value["messages"]
        assert [each["text"] for each in sent] == ["One", "Two"]


def test_a_chat_keeps_what_is_not_empty(blocking: Client, far_server: Server) -> None:
    use = {"role": "assistant", "content": "", "toolUse": {"toolId": "t", "name": "look"}}
    shown = Message(role="assistant", tool_use={"tool_id": "t", "name": "look"})
    step = guide.ChatStepFactory(blocking).newStep()
    step.startBlocking([{"role": "user", "content": ""}, use, shown])
    assert len(far_server.script.last("RunStep").input.struct_value["messages"]) == 3
