"""The parts of a SQLite store beside its trees: lists, search, changes, pictures, pipelines."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from functools import partial

import apsw

from stepwired.conversation import Conversation
from stepwired.errors import Failure
from stepwired.events import Image
from stepwired.store import blobs, changes, pipelines, search
from stepwired.store.core import Core
from stepwired.store.labels import Query, read_list
from stepwired.store.nouns import Change, Deleted, Hit, KeptPipeline, ListOrder
from stepwired.store.parts import LIST_BYTES
from stepwired.store.refusals import blob_not_found


class SqliteParts:
    """An `Index`, a `Feed`, `Blobs` and `Pipelines`, over one open store."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def list(
        self,
        *,
        page_size: int = 100,
        page_bytes: int = LIST_BYTES,
        after: str = "",
        labels: Mapping[str, str] | None = None,
        create_from_ns: int | None = None,
        create_before_ns: int | None = None,
        update_from_ns: int | None = None,
        order: ListOrder = ListOrder.CREATE_TIME,
    ) -> tuple[Sequence[Conversation], str]:
        query = Query(
            page_size, page_bytes, after, labels or {}, create_from_ns, create_before_ns, update_from_ns, order
        )
        return await self._core.readers.read(lambda db: read_list(db, query))

    async def search(
        self, query: str, *, conversation_id: str = "", page_size: int = 20, after: str = ""
    ) -> tuple[Sequence[Hit], str]:
        return await self._core.searchers.read_checked(
            lambda db, check: search.find(
                db, check, query, conversation_id=conversation_id, page_size=page_size, after=after
            )
        )

    async def changes(
        self, conversation_id: str, after_revision: int | None = None
    ) -> AsyncGenerator[tuple[Change, ...], None]:
        read, page_bytes = self._core.readers.read, self._core.limits.stream_message_bytes
        # Listens first: what changes between a read and the next wait has rung by then.
        with self._core.bells.listen(conversation_id) as bell:
            key, at = await read(lambda db: changes.newest_revision(db, conversation_id, after_revision))
            while True:
                bell.mute()
                page = await read(partial(changes.read_changes, key=key, after=at, page_bytes=page_bytes))
                if page is None:
                    while key not in bell.deleted:  # it is committed, and about to ring
                        await bell.wait()
                        bell.mute()
                    yield (Deleted(bell.deleted[key]),)
                    return
                if page:
                    yield page
                    at = page[-1].revision
                else:
                    await bell.wait()

    async def put_blob(self, image: Image, data: bytes) -> str:
        digest = await asyncio.get_running_loop().run_in_executor(None, lambda: hashlib.sha256(data).digest())
        now_s, submit = self._core.clock.now_s, self._core.writer.submit
        part_bytes = blobs.PART_BYTES

        def begin(db: apsw.Connection) -> int:
            key = blobs.begin(db, digest, image, len(data), now_s())
            if key and len(data) <= part_bytes:
                blobs.add_chunks(db, key, 0, data)
                blobs.finish(db, key, digest, now_s())
                return 0
            return key

        if key := await submit(begin, measure=lambda: min(len(data), part_bytes)):
            try:
                for at in range(0, len(data), part_bytes):
                    part = data[at : at + part_bytes]
                    await submit(partial(blobs.add_chunks, key=key, at=at, part=part), measure=part.__len__)
                await submit(lambda db: blobs.finish(db, key, digest, now_s()))
            except Failure:
                # What is left behind by a caller that was cancelled, or a process that ended, goes in a sweep.
                with suppress(Failure):
                    await submit(lambda db: blobs.remove(db, [key]))
                raise
        return blobs.blob_id(digest)

    async def blob(self, blob_id: str) -> Image:
        return (await self._core.readers.read(lambda db: blobs.describe(db, blob_id)))[1]

    async def blob_chunks(self, blob_id: str) -> AsyncGenerator[bytes, None]:
        read = self._core.readers.read
        key, image = await read(lambda db: blobs.describe(db, blob_id))
        for number in range(-(-image.size_bytes // blobs.CHUNK_BYTES)):
            chunk = await read(partial(blobs.read_chunk, key=key, number=number))
            if chunk is None:
                raise blob_not_found(blob_id)
            yield chunk

    async def save_pipeline(self, name: str, version: str, content: bytes) -> KeptPipeline:
        now_ns = self._core.now_ns()
        return await self._core.writer.submit(
            lambda db: pipelines.save(db, name, version, content, now_ns), measure=content.__len__
        )

    async def pipeline(self, name: str, version: str = "") -> KeptPipeline:
        return await self._core.readers.read(lambda db: pipelines.find(db, name, version))

    async def pipelines(
        self, *, name: str = "", page_size: int = 100, page_bytes: int = LIST_BYTES, after: str = ""
    ) -> tuple[Sequence[KeptPipeline], str]:
        return await self._core.readers.read(
            lambda db: pipelines.read_list(db, name=name, page_size=page_size, page_bytes=page_bytes, after=after)
        )

    async def whole_pipelines(self) -> AsyncGenerator[KeptPipeline, None]:
        last: KeptPipeline | None = None
        while page := await self._core.readers.read(partial(pipelines.read_whole, after=last)):
            for last in page:
                yield last

    async def delete_pipeline(self, name: str, version: str = "") -> Sequence[str]:
        return await self._core.writer.submit(lambda db: pipelines.delete(db, name, version))
