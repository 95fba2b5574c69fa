"""A viewer as the tests play it: the other end of an engine's socket, one line at a time."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from h2q.train.snapshot import parse

PATIENCE = 20.0


class Peer:
    """A viewer's end of the socket, one line at a time."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self.file = self.socket.makefile("rb")
        self.hello = self.hear()

    def hear(self) -> dict[str, Any]:
        """The next line; an empty object at the end of the connection."""
        return parse(self.file.readline()) or {}

    def until(self, wanted: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """The next fact that is wanted; the connection must not end before it."""
        while fact := self.hear():
            if wanted(fact):
                return fact
        raise AssertionError("the connection ended")

    def ask(self, verb: str, **values: Any) -> dict[str, Any]:
        """A command's reply."""
        self.socket.sendall((json.dumps({"id": verb, "verb": verb, **values}) + "\n").encode())
        return self.until(lambda fact: fact.get("event") == "reply" and fact["id"] == verb)

    def close(self) -> None:
        """Hang up."""
        self.file.close()
        self.socket.close()
