"""Blocking faces of asyncio classes: the same methods, waited for."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Face(Protocol[A_co]):
    """Has an object of the asyncio kind, and ways to wait for its calls."""

    @property
    def _aio(self) -> A_co: ...

    def _wait(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T: ...

    def _iterate(self, stream: AsyncGenerator[T, None]) -> Generator[T, None, None]: ...


def waits(method: Callable[Concatenate[A, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Face[A], P], T]:
    """Make a method that waits for what the asyncio one returns."""

    def call(self: Face[A], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._wait(lambda: method(self._aio, *args, **kwargs))

    return _described(call, method)


def iterates(
    method: Callable[Concatenate[A, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[Face[A], P], Generator[T, None, None]]:
    """Make a method that yields what the asyncio one yields."""

    def call(self: Face[A], /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        return self._iterate(method(self._aio, *args, **kwargs))

    return _described(call, method)


def _described(call: F, method: Callable[..., Any]) -> F:
    functools.update_wrapper(call, method)
    del call.__wrapped__  # type: ignore[attr-defined]  # it is a coroutine function, and `call` is not
    call.__doc__ = (method.__doc__ or "").replace("async for", "for").replace("await ", "")
    return call
