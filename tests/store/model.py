"""Conversations written down as plainly as can be, for the store to be compared with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from stepwired.errors import Conflict, Failure, InvalidRequest, NotFound
from stepwired.events import Message, Role, ToolResult, ToolUse

LIMIT = 12


@dataclass(frozen=True)
class New:
    """A message to append. Ids and parents come from few names, so that they meet."""

    name: str
    parent: str
    words: str
    """`use` and `result` stand for a tool's; an empty one is a fault."""

    def message(self) -> Message:
        if self.words == "use":
            made = Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "find", {}))
        elif self.words == "result":
            made = Message(role=Role.TOOL, tool_result=ToolResult("t", "42"))
        else:
            made = Message(text=self.words)
        return replace(made, id=self.name, parent_id=self.parent)


@dataclass(frozen=True)
class Call:
    kind: str
    conversation: str
    new: tuple[New, ...] = ()
    parent: str = ""
    """For an update or a copy: the message that it is about."""

    flag: bool = False


@dataclass
class Tree:
    """A conversation, written down as plainly as can be."""

    order: list[str] = field(default_factory=list)
    parent: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    head: str = ""
    revision: int = 1
    title: str = ""
    label: str = ""
    marks: dict[str, int] = field(default_factory=dict)
    """Metadata of messages."""

    log: list[str] = field(default_factory=lambda: ["created"])
    """What happened, one entry for each revision."""

    def path(self, name: str) -> list[str]:
        return [*self.path(self.parent[name]), name] if name else []

    def leftmost(self) -> list[str]:
        found: list[str] = []
        name = ""
        while children := [child for child in self.order if self.parent[child] == name]:
            name = children[0]
            found.append(name)
        return found

    def update(self, title: str, head: str) -> None:
        if head and head not in self.parent:
            raise Caused(NotFound)
        self.title, self.label, self.head = title, title, head or self.head
        self.revision += 1
        self.log.append(f"{title} at {self.head}")

    def mark(self, name: str, number: int) -> int:
        if name not in self.parent:
            raise Caused(NotFound)
        self.marks[name] = number
        self.revision += 1
        self.log.append(f"{name} marked")
        return self.revision

    def fork(self, name: str) -> Tree:
        if name and name not in self.parent:
            raise Caused(NotFound)
        path = self.path(name or self.head)
        return Tree(
            order=path,
            parent={one: self.parent[one] for one in path},
            words={one: self.words[one] for one in path},
            head=name or self.head,
            revision=1 + len(path),
            title=self.title,
            label=self.label,
            marks={one: number for one, number in self.marks.items() if one in path},
            log=["created", *(f"-{one}" for one in path[:-1]), *(f"+{one}" for one in path[-1:])],
        )

    def append(
        self, new: tuple[New, ...], parent: str, *, keep_head: bool, allow_orphan: bool, limit: int
    ) -> list[str]:
        """Append, or raise the first of the kinds of failure that there is cause for; then nothing has changed."""
        place = {one.name: index for index, one in reversed(list(enumerate(new)))}
        if (
            len(place) < len(new)
            or (new and parent and new[0].parent not in {"", parent})
            or any(not one.words or one.parent == one.name for one in new)
            or any(place.get(one.parent, index) > index for index, one in enumerate(new))
        ):
            raise Caused(InvalidRequest)
        tree = Tree(list(self.order), dict(self.parent), dict(self.words))
        causes: set[type[Failure]] = set()
        lost: set[str] = set()  # below a parent that does not exist
        before = parent
        for one in new:
            at, before = one.parent or before, one.name
            if one.name in self.parent:
                if at not in {"", self.parent[one.name]} or one.words != self.words[one.name]:
                    causes.add(Conflict)
                continue
            at = at or self.head
            if not at and tree.order:
                causes.add(InvalidRequest)
            if at and (at not in tree.parent or at in lost):
                causes |= {NotFound}
                lost.add(one.name)
            elif one.words == "result" and not allow_orphan:
                causes |= set() if "use" in [tree.words[up] for up in tree.path(at)] else {InvalidRequest}
            tree.order.append(one.name)
            tree.parent[one.name], tree.words[one.name], tree.head = at, one.words, one.name
        if len(tree.order) > limit:
            causes.add(InvalidRequest)
        if causes:
            raise next(Caused(cause) for cause in (InvalidRequest, NotFound, Conflict) if cause in causes)
        added = tree.order[len(self.order) :]
        self.revision += len(added)
        moved = added[-1:] if not keep_head else []
        self.log += [f"{'+' if name in moved else '-'}{name}" for name in added]
        self.order, self.parent, self.words = tree.order, tree.parent, tree.words
        self.head = tree.head if tree.head and not keep_head else self.head
        return [one.name for one in new]


class Caused(Exception):
    """What the model says the store must raise."""

    def __init__(self, kind: type[Failure]) -> None:
        super().__init__(kind)
        self.kind = kind


def in_memory(trees: dict[str, Tree], call: Call) -> object:
    if call.kind == "create":
        if call.conversation in trees:
            raise Caused(Conflict)
        tree = Tree()
        ids = tree.append(call.new, "", keep_head=False, allow_orphan=call.flag, limit=LIMIT)
        trees[call.conversation] = tree
        return ids
    if call.conversation not in trees:
        raise Caused(NotFound)
    tree = trees[call.conversation]
    if call.kind in {"delete", "fork", "update", "mark"}:
        return _edit_in_memory(trees, tree, call)
    if call.kind in {"append", "orphans"}:
        orphans = call.kind == "orphans"
        return tree.append(call.new, "", keep_head=call.flag, allow_orphan=orphans, limit=LIMIT)
    if call.kind == "begin":
        ids = tree.append(call.new, call.parent, keep_head=False, allow_orphan=False, limit=LIMIT - 1)
        last = [*ids, call.parent or tree.head][0 if not ids else len(ids) - 1]
        if not last:
            raise Caused(InvalidRequest)
        if last not in tree.parent:
            raise Caused(NotFound)
        return last
    branched = tree.head != call.parent
    return tree.append(call.new, call.parent, keep_head=branched, allow_orphan=True, limit=LIMIT), branched


def _edit_in_memory(trees: dict[str, Tree], tree: Tree, call: Call) -> object:
    if call.kind == "delete":
        del trees[call.conversation]
        return None
    if call.kind == "fork":
        copy = tree.fork(call.parent)
        other = "d" if call.conversation == "c" else "c"
        if other in trees:
            raise Caused(Conflict)
        trees[other] = copy
        return copy.head
    if call.kind == "update":
        tree.update("yes" if call.flag else "no", call.parent)
        return tree.revision
    return tree.mark(call.parent or "m0", int(call.flag))
