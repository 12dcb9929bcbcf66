"""The HTTP server with limits: what a client on this machine may hold of it, and for how long."""

import asyncio
from typing import TYPE_CHECKING, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from loops.ui.guarding import LARGEST_REQUEST

if TYPE_CHECKING:
    from starlette.types import ASGIApp

MOST_CONNECTIONS = 64
"""Beyond them a request is answered with 503; an open page needs one or two."""

SLOWEST = 10.0
"""Seconds that a connection may take to send a whole request."""

IDLE = 20.0
"""Seconds that a connection is kept open after an answer."""

LAST_WORDS = 2
"""Seconds for which the server, told to end, waits for the answers that it is giving."""


class PatientProtocol(H11Protocol):
    """Uvicorn's HTTP, which waits for ever for a request that never becomes whole; this one waits `SLOWEST` seconds."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request; each must become whole in its time, however many bytes come."""
        super().data_received(data)
        if self._answering():
            self._done()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._done()
        super().connection_lost(exc)

    def _answering(self) -> bool:
        # It is None before the first request, whatever it is declared.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    def _wait(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(SLOWEST, self.transport.close)

    def _done(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def patient_server(app: "ASGIApp") -> uvicorn.Server:
    """Return a server of the application, ready to be given its socket. It logs nothing: addresses hold the token."""
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=LARGEST_REQUEST,
        timeout_keep_alive=int(IDLE),
        timeout_graceful_shutdown=LAST_WORDS,
    )
    return uvicorn.Server(config)
