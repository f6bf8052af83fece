"""Plays one case in one language."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from clients.conformance.runner import observing, wire
from clients.conformance.runner.cases import OWN, SCRIPTED, Case
from clients.conformance.runner.drivers import HANG_S, Call, Driver, DriverFault, patient
from clients.conformance.runner.filling import fill
from clients.conformance.runner.matching import differences
from clients.conformance.runner.observing import Mismatch
from clients.conformance.runner.scripted import CELL, Script
from clients.conformance.runner.stage import OwnServer, Troupe

_OPTIONS = ("timeout_ms", "cancel_after", "leave_after", "progress", "open")


class Begun:
    """A call that a case has begun."""

    def __init__(self, step: Mapping[str, Any], method: str, call: Call, requests: Sequence[bytes]) -> None:
        self.step = step
        self.call = call
        self.kind = wire.method(method)
        self.requests = list(requests)

    @property
    def is_told_to_end(self) -> bool:
        """Whether the driver was told to cancel or leave it."""
        return self.call.was_cancelled or "cancel_after" in self.step or "leave_after" in self.step


class Player:
    """One cell of the table while it is played."""

    def __init__(self, case: Case, troupe: Troupe, driver: Driver, own: OwnServer | None = None) -> None:
        token = f"{secrets.token_hex(6)}x"
        self._case = case
        self._driver = driver
        self._own = own
        self._names: dict[str, Any] = {"id": f"{case.name}-{token}", "short": token}
        self._calls: dict[str, Begun] = {}
        self._sight = troupe.stage.provider.seen(token)
        self._token = token
        self.script: Script | None = None
        """What the scripted server answers, and has seen."""
        if case.server == SCRIPTED:
            self.script = troupe.stage.scripted.scripts[token] = Script(fill(list(case.answers), self._names))
        self.closed_after_ms: float | None = None
        """From the cancel to the closing of the provider's socket, where the case waits for it."""
        self._cancelled_ms: float | None = None

    async def play(self) -> None:
        """Take each step.

        Raises:
            Mismatch: Something else came than is expected.
            DriverFault: The driver failed.
        """
        for number, step in enumerate(self._case.do, 1):
            try:
                await self._step(step, self._names)
            except Mismatch as mismatch:
                raise Mismatch([f"step {number}: {fault}" for fault in mismatch.faults]) from None
            except DriverFault as fault:
                raise DriverFault(f"step {number}: {fault}") from fault

    async def _step(self, step: Mapping[str, Any], names: Mapping[str, Any]) -> None:
        if "call" in step:
            await self._call(step, names)
        elif "begin" in step:
            self._calls[step.get("as", "call")] = await self._begin(step, step["begin"], names)
        elif "send" in step:
            await self._send(step, names)
        elif "close" in step:
            await self._calls[step["close"]].call.close()
        elif "cancel" in step:
            await self._calls[step["cancel"]].call.cancel()
        elif "next" in step:
            await self._next(step, names)
        elif "end" in step:
            await self._end(self._calls[step["end"]], step, names)
        elif "together" in step:
            await self._together(step)
        elif "provider" in step:
            await self._provider(step["provider"])
        elif "server" in step:
            assert self._own is not None
            await getattr(self._own, step["server"])()
        elif "got" in step:
            await self._got(fill(step["got"], names))
        else:
            raise AssertionError(f"a step that nobody knows: {step}")

    async def _begin(self, step: Mapping[str, Any], name: str, names: Mapping[str, Any]) -> Begun:
        kind = wire.method(name)
        given = fill(step["requests"], names) if "requests" in step else [fill(step.get("request", {}), names)]
        encoded = [wire.encode(kind.input_type, each) if kind else b"" for each in given]
        metadata = {key: fill(value, names) for key, value in step.get("metadata", {}).items()}
        if self.script is not None:
            metadata[CELL] = self._token
        options = {key: step[key] for key in _OPTIONS if key in step}
        call = await self._driver.begin(wire.path(name), encoded, metadata=metadata or None, **options)
        return Begun(step, name, call, encoded)

    async def _call(self, step: Mapping[str, Any], names: Mapping[str, Any]) -> None:
        begun = await self._begin(step, step["call"], names)
        if step.get("until_ok"):
            begun = await patient(self._until_ok(begun, names), "no call succeeded")
        await self._end(begun, step, names)

    async def _until_ok(self, begun: Begun, names: Mapping[str, Any]) -> Begun:
        while (await begun.call.end()).code != "OK":
            await asyncio.sleep(0.1)  # as a caller who tries again would
            begun = await self._begin(begun.step, begun.step["call"], names)
        return begun

    async def _send(self, step: Mapping[str, Any], names: Mapping[str, Any]) -> None:
        begun = self._calls[step.get("to", "call")]
        assert begun.kind is not None
        given = fill(step["send"], names)
        for each in given if isinstance(given, list) else [given]:
            begun.requests.append(wire.encode(begun.kind.input_type, each))
            await begun.call.send(begun.requests[-1])

    async def _next(self, step: Mapping[str, Any], names: Mapping[str, Any]) -> None:
        """Read until a message matches, or only the next one."""
        begun = self._calls[step["next"]]
        assert begun.kind is not None
        expected = fill(step.get("expect", {"$any": True}), names)
        while True:
            raw = await begun.call.next()
            if raw is None:
                answer = await begun.call.end()
                raise Mismatch([f"the call ended with {answer.code} ({answer.message}) before {expected}"])
            message = observing.decoded(begun.kind, raw)
            faults = differences(expected, message, "message")
            if not faults:
                self._save(step, message)
                return
            if not step.get("skip"):
                raise Mismatch(faults)

    async def _end(self, begun: Begun, step: Mapping[str, Any], names: Mapping[str, Any]) -> None:
        answer = await begun.call.end()
        self._cancelled_ms = answer.cancelled_ms
        arrived = begun.call.progress if begun.step.get("progress") else answer.messages
        seen = observing.observe(begun.kind, answer, arrived)
        faults = observing.faults(fill(step.get("expect", {}), names), seen, is_told_to_end=begun.is_told_to_end)
        faults += observing.clock_faults(answer, begun.call.begun_ms, begun.call.told_ms)
        if self.script is not None and begun.kind is not None:
            faults += observing.scripted_faults(begun.kind, self.script, answer, arrived, begun.requests)
        if faults:
            raise Mismatch(faults)
        self._save(step, seen["messages"][0] if seen["messages"] else {})

    async def _together(self, step: Mapping[str, Any]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(step.get("times", 1)):
                    for each in step["together"]:
                        group.create_task(self._step(each, {**self._names, "n": number}))
        except ExceptionGroup as several:
            raise several.exceptions[0] from None

    async def _provider(self, wanted: str) -> None:
        if wanted == "asked":
            await self._asked()
            return
        try:
            closed_ms = await self._sight.closed(HANG_S)
        except TimeoutError:
            raise Mismatch([f"the provider's socket was not closed within {HANG_S:.0f} s"]) from None
        if self._cancelled_ms is not None and closed_ms is not None:
            self.closed_after_ms = closed_ms - self._cancelled_ms

    async def _asked(self) -> None:
        """Wait until the provider is asked, or the call has ended without that."""
        asked = asyncio.create_task(self._sight.asked.wait())
        ended = [asyncio.create_task(begun.call.end()) for begun in self._calls.values()]
        try:
            await asyncio.wait([asked, *ended], return_when=asyncio.FIRST_COMPLETED, timeout=HANG_S)
            if not self._sight.asked.is_set():
                said = [f"{task.result().code} ({task.result().message})" for task in ended if task.done()]
                raise Mismatch([f"the provider was not asked; {', '.join(said) or 'nor did the call end'}"])
        finally:
            for task in (asked, *ended):
                task.cancel()
            await asyncio.gather(asked, *ended, return_exceptions=True)

    async def _got(self, expected: Mapping[str, Any]) -> None:
        assert self.script is not None
        if "ended" in expected:
            await patient(self.script.ended.wait(), "the server's call did not end")
        metadata = self.script.metadata[-1] if self.script.metadata else {}
        seen = {
            "attempts": len(self.script.times_s),
            "metadata": metadata,
            "ended": self.script.ended.is_set(),
            "has_deadline": self.script.has_deadline,
        }
        if faults := differences(expected, seen, "the server got"):
            raise Mismatch(faults)

    def _save(self, step: Mapping[str, Any], message: Any) -> None:
        for name, path in step.get("save", {}).items():
            value = message
            try:
                for part in path.split("."):
                    value = value[int(part)] if isinstance(value, list) else value[part]
            except (LookupError, TypeError):
                raise Mismatch([f"there is no {path} in {message!r:.300}"]) from None
            self._names[name] = value


async def play(case: Case, troupe: Troupe) -> float | None:
    """Play a case; how long after the cancel the provider's socket was closed, in ms, if the case looks at that.

    Raises:
        Mismatch: Something else came than is expected.
        DriverFault: The driver failed.
    """
    own = await troupe.own() if case.server == OWN else None
    player = Player(case, troupe, await troupe.driver(case.server), own)
    await player.play()
    return player.closed_after_ms
