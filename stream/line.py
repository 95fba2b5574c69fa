"""A connection that may stay silent for days, and can be cut from another thread.

Promises: the kernel asks a silent peer whether it still lives, so that a dead one is noticed within some minutes;
after `cut` every read on the line ends at once, also one that waits in another thread. Knows nothing of what is read.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests

ASKED = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 4}
"""Seconds of silence before the first question, seconds between questions, and how many may stay unanswered."""


class Line:
    """The connection that one thread reads, as another sees it."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._was_cut = False

    def session(self) -> requests.Session:
        """A session whose connection is this line."""
        import requests
        from requests.adapters import HTTPAdapter

        line = self

        class Adapter(HTTPAdapter):
            """One connection at a time, which the line holds on to."""

            def get_connection_with_tls_context(self, *given: Any, **named: Any) -> Any:
                pool: Any = super().get_connection_with_tls_context(*given, **named)
                make = type(pool).ConnectionCls
                pool.ConnectionCls = lambda *given, **named: line._kept(make(*given, **named))
                return pool

        session = requests.Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, Adapter())
        return session

    def take_your_time(self) -> None:
        """An answer has begun: from here on a read waits for as long as the peer lives."""
        if self._socket is not None:
            self._socket.settimeout(None)

    def cut(self) -> None:
        """End whatever is read or tried on it, now and later."""
        with self._lock:
            self._was_cut = True
            self._shut()

    def _kept(self, connection: Any) -> Any:
        connect = connection.connect

        def connected() -> None:
            connect()
            with self._lock:
                self._socket = connection.sock
                self._asked_after()
                if self._was_cut:
                    self._shut()

        connection.connect = connected
        return connection

    def _asked_after(self) -> None:
        assert self._socket is not None
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in ASKED.items():
                if hasattr(socket, name):
                    self._socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def _shut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it was closed by its reader already
                self._socket.shutdown(socket.SHUT_RDWR)
