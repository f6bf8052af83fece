"""Results of tools find their use on their own path, and the way there is read once."""

from __future__ import annotations

import pytest

from stepwired.errors import InvalidRequest, Reason
from stepwired.events import Message, Role, ToolResult, ToolUse
from stepwired.store.sqlite import SqliteStore
from tests.store.talk import on_writer, said


async def test_a_tool_result_finds_its_use_on_its_own_path_only(store: SqliteStore) -> None:
    use = Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "find", {}), id="use", parent_id="a")
    result = Message(role=Role.TOOL, tool_result=ToolResult("t", "42"))
    await store.create("c", messages=said("a", "b"))
    await store.append("c", [use, *said("x", "y")])
    await store.append("c", [result])
    with pytest.raises(InvalidRequest) as caught:
        await store.append("c", [Message(role=Role.TOOL, tool_result=result.tool_result, parent_id="b")])
    assert caught.value.reason is Reason.INVALID_MESSAGE


async def test_a_tool_result_finds_its_use_wherever_its_path_branched_off(store: SqliteStore) -> None:
    """Many results in one append, on paths that join: each sees the uses above itself, and no others."""

    def use(name: str, parent: str, tool: str) -> Message:
        return Message(role=Role.ASSISTANT, tool_use=ToolUse(tool, "find", {}), id=name, parent_id=parent)

    tree = [Message(text="root", id="root"), use("t1-a", "root", "t1"), Message(text="mid", id="mid")]
    tree += [use("t2", "mid", "t2"), use("t1-b", "t2", "t1"), *said("end")]
    tree += [Message(text="side", id="side", parent_id="mid"), use("t3", "side", "t3"), *said("tip")]
    tree += [Message(text="early", id="early", parent_id="root"), *said("late")]
    await store.create("c", messages=tree)
    seen = {"end": {"t1", "t2"}, "tip": {"t1", "t3"}, "late": set(), "side": {"t1"}, "t1-a": {"t1"}, "t2": {"t1", "t2"}}
    asked = [(parent, tool) for parent in seen for tool in ("t1", "t2", "t3", "t4")]
    for order in (asked, asked[::-1], asked[1::2] + asked[::2]):
        results = [Message(role=Role.TOOL, tool_result=ToolResult(tool, "42"), parent_id=at) for at, tool in order]
        with pytest.raises(InvalidRequest) as caught:
            await store.append("c", results)
        orphans = [index for index, (at, tool) in enumerate(order) if tool not in seen[at]]
        assert [found.field for found in caught.value.violations] == [
            f"messages[{index}].tool_result.tool_id" for index in orphans
        ]


async def test_many_tool_results_read_a_long_path_once(store: SqliteStore) -> None:
    uses = [Message(role=Role.ASSISTANT, tool_use=ToolUse(f"t{number}", "find", {})) for number in range(50)]
    await store.create("c", messages=[*uses, *(Message(text="x", id=f"x{number}") for number in range(900))])
    await store.append("c", [Message(text="x") for _ in range(1000)])
    instructions = 0

    def count() -> bool:
        nonlocal instructions
        instructions += 100
        return False

    def results(parent: str) -> list[Message]:
        return [
            Message(role=Role.TOOL, tool_result=ToolResult(f"t{number}", "42"), parent_id=parent.format(number))
            for number in range(50)
        ]

    await store._core.writer.submit(lambda db: db.set_progress_handler(count, 100))
    await store.append("c", results(""))
    await store.append("c", results("x{}"), keep_head=True)
    assert instructions < 2 * 1950 * 100, "each message of the path was read once by each append"


async def test_a_way_up_that_damage_broke_ends_where_it_broke(store: SqliteStore) -> None:
    use = Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "find", {}))
    await store.create("c", messages=[use, *said("a", "b")])
    await on_writer(store, "DELETE FROM message WHERE id = 'a'")
    with pytest.raises(InvalidRequest):
        await store.append("c", [Message(role=Role.TOOL, tool_result=ToolResult("t", "42"))])
