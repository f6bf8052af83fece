"""The calls of a client about saved pipelines."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from typing import Any, TypeVar

from stepwire import _requests, _values
from stepwire._connection import Connection
from stepwire._faces import Face, iterates, waits
from stepwire._requests import StepLike
from stepwire.v1 import pipeline_pb2

T = TypeVar("T")


class AsyncPipelines:
    """Pipelines that the server keeps, to be run by name like any other step. A client has them as `client.pipelines`.

    A version never changes once saved. A run holds on to the version that it began with.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def save(
        self,
        name: str,
        steps: StepLike | Sequence[StepLike],
        *,
        version: str = "",
        description: str = "",
        input_schema: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> pipeline_pb2.Pipeline:
        """Save a version of a pipeline.

            saved = await client.pipelines.save("shout", ["trim", "upper"], description="A text, louder.")
            print(await client.collect(f"shout@{saved.version}", " hi "))  # ['HI']

        Saving again what is there already, under the same version, succeeds and changes nothing; so this is repeated
        by itself while the server is unavailable.

        Args:
            name: 1 to 128 of `A-Z a-z 0-9 . _ : -`, and no name of a step of another kind.
            steps: One step or several, first to last: names of steps, JSON or `Step`.
            version: Numbers with dots between them, such as `2` or `1.4`. Empty for the next: the first number of the
                highest version plus 1. If that highest one has the same content, it is the answer.
            description: What it does, at most 1 KiB.
            input_schema: JSON Schema of its input, which is checked before it runs; None for any value.
            labels: Facts to be kept with it.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Returns:
            The pipeline, with its version.

        Raises:
            errors.InvalidRequest: Its `violations` name every fault; STEP_GRAPH_INVALID for those of the steps.
            errors.Conflict: PIPELINE_EXISTS: the version is there with other content. STEP_EXISTS: the name is that
                of a step of another kind.
        """
        with _requests.checked():
            request = pipeline_pb2.SavePipelineRequest(
                pipeline=pipeline_pb2.Pipeline(
                    name=name,
                    version=version,
                    description=description,
                    steps=_requests.steps(steps),
                    input_schema=None if input_schema is None else _values.to_struct(dict(input_schema)),
                    labels=labels,
                )
            )
        response = await self._connection.unary(self._connection.pipelines.SavePipeline, request, timeout_s)
        return response.pipeline

    async def get(self, name: str, version: str = "", *, timeout_s: float | None = None) -> pipeline_pb2.Pipeline:
        """Read a version of a pipeline.

            await client.pipelines.save("shout", "upper")
            for step in (await client.pipelines.get("shout")).steps:
                print(step)

        Args:
            name: Its name.
            version: Its version; empty for the highest.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.NotFound: No such pipeline, or no such version of it, is saved.
        """
        with _requests.checked():
            request = pipeline_pb2.GetPipelineRequest(name=name, version=version)
        response = await self._connection.unary(self._connection.pipelines.GetPipeline, request, timeout_s)
        return response.pipeline

    async def list(
        self, *, name: str = "", page_size: int = 100, timeout_s: float | None = None
    ) -> AsyncGenerator[pipeline_pb2.Pipeline, None]:
        """List the highest version of each pipeline, by name, or all versions of one. Steps are left out.

            async for pipeline in client.pipelines.list():
                print(pipeline.name, pipeline.version, pipeline.description)

        Args:
            name: Only the versions of this one, the highest first.
            page_size: How many to ask for at a time, 1 to 1000. You get them all, unless you leave early.
            timeout_s: Seconds until a page fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.Error: The call failed; the subclass says what to do.
        """
        with _requests.checked():
            request = pipeline_pb2.ListPipelinesRequest(page_size=page_size, name=name)
        while True:
            page = await self._connection.unary(self._connection.pipelines.ListPipelines, request, timeout_s)
            for pipeline in page.pipelines:
                yield pipeline
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def delete(self, name: str, version: str = "", *, timeout_s: float | None = None) -> int:
        """Delete a version of a pipeline, or all of them. Runs that have begun go on.

            await client.pipelines.save("shout", "upper")
            print(await client.pipelines.delete("shout"))  # 1

        Pipelines that name it stay, and fail with STEP_GRAPH_INVALID until there is one of this name again. Not
        repeated by itself when the answer is lost.

        Args:
            name: Its name.
            version: Its version; empty for all.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Returns:
            How many versions were deleted.

        Raises:
            errors.NotFound: No such pipeline, or no such version of it, is saved.
        """
        with _requests.checked():
            request = pipeline_pb2.DeletePipelineRequest(name=name, version=version)
        response = await self._connection.unary(self._connection.pipelines.DeletePipeline, request, timeout_s)
        return response.version_count


class Pipelines:
    """Pipelines that the server keeps, to be run by name like any other step. A client has them as `client.pipelines`.

    The methods are those of `AsyncPipelines`.
    """

    def __init__(self, aio: AsyncPipelines, client: Face[Any]) -> None:
        self._aio = aio
        self._client = client

    save = waits(AsyncPipelines.save)
    get = waits(AsyncPipelines.get)
    list = iterates(AsyncPipelines.list)
    delete = waits(AsyncPipelines.delete)

    def _wait(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return self._client._wait(make)

    def _iterate(self, stream: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        return self._client._iterate(stream)
