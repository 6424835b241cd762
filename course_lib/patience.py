"""A bound on the time for which a client may hold a connection and ask nothing.

uvicorn waits for ever for the header of a request. A few thousand clients that send one byte a minute, or
nothing at all (an attack called slow loris), would take every connection that the system has to give.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


def patient(seconds: float) -> type[H11Protocol]:
    """The HTTP protocol for `uvicorn.Config(http=...)` that looks at each connection every so many seconds,
    and ends it if no request has begun since it last looked, and none is in work."""

    class Patient(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._look_later()

        def connection_lost(self, error: Exception | None) -> None:
            self._next_look.cancel()
            super().connection_lost(error)

        def _look_later(self) -> None:
            self._next_look = self.loop.call_later(seconds, self._look, self.cycle)

        def _look(self, last: Any) -> None:
            if self.cycle is last and (last is None or last.response_complete):
                self.transport.close()
            else:
                self._look_later()

    return Patient
