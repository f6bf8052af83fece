"""What a worker hears of a server that is alive."""

from __future__ import annotations

import asyncio

import grpc.aio

from stepwired.limits import Limits
from tests.rpc.serving import within
from tests.rpc.talking import V, talking
from tests.rpc.working import called


async def test_a_worker_that_drains_hears_that_we_are_alive_while_it_still_answers() -> None:
    async with talking(limits=Limits(worker_heartbeat_s=0.3)) as server:
        worker = await server.worker("f")
        run = asyncio.create_task(called(server, 1))
        call = await worker.asked()
        await worker.send(drain=V.WorkerDrain())
        heard = asyncio.Event()

        async def hear() -> None:
            beats = 0
            while (message := await worker.receive()) is not grpc.aio.EOF:
                beats += message.HasField("heartbeat")
                if beats == 3:
                    heard.set()

        hearing = asyncio.create_task(hear())

        async def answer() -> None:
            while not heard.is_set():  # far more often than we have to hear of it
                await worker.output(call.call_id, 1)
                await asyncio.sleep(0)
            await worker.done(call.call_id)

        await within(answer())
        assert set(map(str, await within(run))) == {"1"}
        await within(hearing)
