"""A reply in a conversation that is kept here, by the rules that the server keeps for its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager
from dataclasses import replace

from stepwire import _requests, errors, replies
from stepwire._tree import Tree, for_model
from stepwire.v1 import message_pb2


class Talk:
    """Takes the user's prompt, if there is one, and then the reply to it.

    Attributes:
        messages: What the model is to be sent.
    """

    def __init__(self, tree: Tree, prompt: str, parent_id: str) -> None:
        self._tree = tree
        self._asked_id, self._head_id = "", tree.head_id
        if prompt:
            with _requests.checked():
                asked = message_pb2.Message(role="user", text=prompt, parent_id=parent_id)
            parent_id = self._asked_id = tree.add(asked)
        self._after = parent_id or tree.head_id
        self.messages = for_model(tree.path(self._after))

    @contextmanager
    def asked(self) -> Generator[None]:
        """Take the prompt back where the request itself is refused, as the server does not keep it then either.

        So it is where no request could be made of the arguments.
        """
        try:
            yield
        except (errors.InvalidRequest, errors.NotFound) as refused:
            if "provider" not in refused.metadata:
                self._take_back()
            raise
        except errors.Error:
            raise
        except Exception:
            self._take_back()
            raise

    async def streamed(
        self, make: Callable[[], AsyncGenerator[replies.ChatEvent, None]]
    ) -> AsyncGenerator[replies.ChatEvent, None]:
        """Make a stream and yield what comes; see `asked`."""
        with self.asked():
            stream = make()
        async with aclosing(stream):
            while True:
                with self.asked():  # not around the `yield`: what its reader raises is no fault of the request
                    event = await anext(stream, None)
                if event is None:
                    return
                yield event

    def keep(self, finished: replies.Finished) -> replies.Finished:
        """Append the reply after what was sent; the head follows if it is still there."""
        is_branch = self._tree.head_id != self._after
        kept = [self._tree.get(self._append(message, keep_head=is_branch)) for message in finished.messages]
        return replace(finished, messages=kept, branched=is_branch)

    def keep_partial(self, text: str) -> None:
        """Append what there is of a reply that was cut off."""
        message = message_pb2.Message(role="assistant", text=text, status=message_pb2.MESSAGE_STATUS_INTERRUPTED)
        self._append(message, keep_head=self._tree.head_id != self._after)

    def _take_back(self) -> None:
        if self._asked_id:
            self._tree.take_back(self._asked_id, self._head_id)

    def _append(self, message: message_pb2.Message, *, keep_head: bool) -> str:
        placed = message_pb2.Message()
        placed.CopyFrom(message)
        placed.parent_id = self._after
        self._after = self._tree.add(placed, keep_head=keep_head)
        return self._after
