"""Serves the live page on 127.0.0.1 until Ctrl-C. It connects to nothing, and gives out no file of the run folder."""

import asyncio
import contextlib
import os
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lessons.errors import InputError
from loops.reading import RunView
from loops.ui.following import Follower
from loops.ui.guarding import Guard, Tickets
from loops.ui.live_page import LivePage, plain_page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

HOST = "127.0.0.1"


def application(follower: Follower, token: str, tickets: Tickets) -> "ASGIApp":
    """Return the live page of a run as an ASGI application, under `/TOKEN/`; a ticket's address leads there once."""
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, Response
    from starlette.routing import Route

    def page_of(found: LivePage, status: int = 200) -> "Response":
        return HTMLResponse(found.whole, status, headers={"content-security-policy": found.policy})

    async def whole(request: "Request") -> "Response":
        found = await follower.page()
        if found is None:
            status = await follower.status()
            return page_of(plain_page(status.trouble or "Its folder is being written."), 503)
        return page_of(found)

    async def update(request: "Request") -> "Response":
        found = await follower.page()
        if found is None:
            return Response(status_code=503)
        return Response(found.update, media_type="application/json")

    async def block(request: "Request") -> "Response":
        found = await follower.page()
        text = found.blocks.get(request.path_params["digest"]) if found else None
        return Response(status_code=404) if text is None else Response(text, media_type="text/plain")

    async def status(request: "Request") -> "Response":
        return Response(msgspec.json.encode(await follower.status()), media_type="application/json")

    routes = [Route("/", whole), Route("/update", update), Route("/block/{digest}", block), Route("/status", status)]
    inner = Starlette(routes=routes)
    inner.router.redirect_slashes = False  # a redirect would repeat what was asked
    return Guard(inner, token, tickets)


def serve(run: Path, *, port: int = 0, told: Callable[[str], None], browse: bool = False) -> None:
    """Serve a run's live page until Ctrl-C; `told` is called with its address once it can be opened.

    Raises:
        InputError: there is no run at this path, or the port is taken.
    """
    RunView.open(run)  # a wrong path is said before anything is served
    listening = _listen(port)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(run, listening, told, browse))


def can_browse() -> bool:
    """Whether a browser with a window can be opened here: not in a terminal without a display, nor over SSH."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "there is no such port"
        raise InputError(f"--port {port}: cannot be used ({reason}); without it a free one is taken") from error


async def _serve(run: Path, listening: socket.socket, told: Callable[[str], None], browse: bool) -> None:
    from loops.ui.patience import patient_server

    follower, token, tickets = Follower(run), secrets.token_urlsafe(24), Tickets()
    here = f"http://{HOST}:{listening.getsockname()[1]}"
    server = patient_server(application(follower, token, tickets))
    told(f"{here}/{token}/")
    if browse:
        threading.Thread(target=webbrowser.open, args=(f"{here}/{tickets.issue()}",), daemon=True).start()
    try:
        await server.serve(sockets=[listening])
    finally:
        follower.close()
