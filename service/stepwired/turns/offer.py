"""Checks which steps a request offers to a model as tools, and fills in what those steps say of themselves."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import Batch, Chat, ChatRequest, Tool, ToolSteps


async def offered(request: ChatRequest, steps: ToolSteps) -> ChatRequest:
    """`request`, whose tools with a `step` have a description and a schema.

    Raises:
        InvalidRequest: TOOL_NOT_ALLOWED, with each step that may not be a tool.
    """
    if not any(tool.step for tool in request.options.tools):
        return request
    filled: list[Tool] = []
    faults: list[Violation] = []
    for index, tool in enumerate(request.options.tools):
        found = await steps.find(tool.step) if tool.step else None
        if found is not None:
            filled.append(
                replace(tool, description=tool.description or found.description, schema=tool.schema or found.schema)
            )
        elif tool.step:
            text = f"`{tool.step}` is no step that may be a tool here: ListSteps shows those with is_tool"
            faults.append(Violation(f"options.tools[{index}].step", text, Reason.TOOL_NOT_ALLOWED))
        else:
            filled.append(tool)
    if faults:
        raise InvalidRequest.of(faults)
    return replace(request, options=replace(request.options, tools=tuple(filled)))


def offering(chat: Chat, steps: ToolSteps) -> Chat:
    """`chat`, which is given requests as `offered` makes them. Refuses before anything is stored or asked."""

    def run(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        return later(request) if any(tool.step for tool in request.options.tools) else chat(request)

    async def later(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        async with aclosing(chat(await offered(request, steps))) as batches:
            async for batch in batches:
                yield batch

    return run
