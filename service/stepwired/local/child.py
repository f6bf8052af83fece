"""What both child processes share: how they learn their key, say where they listen, and end with their parent."""

from __future__ import annotations

import json
import os
import sys

from stepwired.processes import parent


class Parent(parent.Parent):
    """The process that started us. Make it first: it takes stdin and stdout away from everybody else."""

    def __init__(self) -> None:
        super().__init__()
        self.api_key = self.said
        if not self.api_key:
            sys.exit("the key is expected as the first line of stdin")

    def announce(self, port: int) -> None:
        """Say that we are ready, on 127.0.0.1 and this port."""
        self.tell(json.dumps({"port": port}))


def usable_cores() -> int:
    """Cores this process may run on, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
