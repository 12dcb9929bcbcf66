"""Who is let in to the live page: whoever has the token, from a browser on this machine that was not sent by a page of
somebody else. Everything else gets a short answer that repeats nothing of what was asked.

The token is a part of the address's path and not a cookie: browsers send a cookie of 127.0.0.1 to every port of it,
also to servers of other users of the machine, and a request without the path has no authority that could be borrowed.
"""

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMES = (b"127.0.0.1", b"localhost")
"""Names under which the page may be asked for; any port, so that it can be looked at through a tunnel. Another name
that leads here is a web site's (DNS rebinding)."""

ALWAYS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
"""Headers of every answer."""

POLICY = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""The content security policy of every answer that names none."""

LARGEST_REQUEST = 16 * 1024
"""Bytes that the path and the headers of a request may have."""

TICKET = 60.0
"""Seconds for which a ticket is good, once."""

_METHODS = ("GET", "HEAD")


class Tickets:
    """Addresses that lead to the page once. A browser is started with its address among its arguments, where every user
    of the machine may read it: what they read there is used up by then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._good: dict[str, float] = {}

    def issue(self) -> str:
        """Return a new ticket."""
        ticket = secrets.token_urlsafe(24)
        self._good[ticket] = self._clock() + TICKET
        return ticket

    def take(self, ticket: str) -> bool:
        """Whether a ticket is good; from now on it is not."""
        known = [good for good in self._good if _same(good, ticket)]
        return any(self._clock() < self._good.pop(good) for good in known)


class Guard:
    """Stands before an ASGI application, which sees only what may come in, with the token taken off its path."""

    def __init__(self, app: "ASGIApp", token: str, tickets: Tickets) -> None:
        self._app, self._token, self._tickets = app, token, tickets

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            return None  # there are no web sockets; without an answer the connection is closed
        guarded = _with_headers(send)
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            headers[name] = value if name not in headers else headers[name] + b", " + value  # twice is never right
        refused = _refused(scope["method"], scope["raw_path"] + scope["query_string"], headers)
        path = scope["path"]
        token, slash, rest = path.removeprefix("/").partition("/")
        if refused is None and not slash and scope["method"] == "GET" and self._tickets.take(token):
            return await _answer(303, "", {"location": f"/{self._token}/"}, scope, receive, guarded)
        if refused is None and not _same(token, self._token):
            refused = (403, "The address has no token, or a wrong one: open the one that tutelage ui printed.")
        if refused is not None:
            allowed = {"allow": ", ".join(_METHODS)} if refused[0] == 405 else {}
            return await _answer(*refused, allowed, scope, receive, guarded)
        inner = {**scope, "path": f"/{rest}" if slash else "", "raw_path": b"", "root_path": ""}
        return await self._app(inner, receive, guarded)


def _refused(method: str, target: bytes, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
    """Return the status and the words with which a request is turned away whatever its path; None: it may go on."""
    if method not in _METHODS:
        return 405, "Only GET and HEAD."
    host = headers.get(b"host", b"")
    if host.rpartition(b":")[0] not in NAMES and host not in NAMES:
        return 421, "This page is at 127.0.0.1."
    if b"origin" in headers and headers[b"origin"] != b"http://" + host:
        return 403, "Not for other origins."
    site = headers.get(b"sec-fetch-site", b"none")
    opened = headers.get(b"sec-fetch-mode") == b"navigate" and headers.get(b"sec-fetch-dest") == b"document"
    if site not in (b"same-origin", b"none") and not opened:
        return 403, "Not for other sites."
    if sum(len(name) + len(value) for name, value in headers.items()) + len(target) > LARGEST_REQUEST:
        return 431, "Too large."
    if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
        return 413, "A request has no body here."
    return None


def _with_headers(send: "Send") -> "Send":
    async def sent(message: "Message") -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            if all(name != b"content-security-policy" for name, _ in headers):
                headers.append((b"content-security-policy", POLICY))
            message = {**message, "headers": [*headers, *ALWAYS]}
        await send(message)

    return sent


def _same(one: str, other: str) -> bool:
    """Compare in a time that does not tell how much of it is right."""
    return secrets.compare_digest(one.encode(errors="surrogatepass"), other.encode(errors="surrogatepass"))


async def _answer(
    status: int, words: str, headers: dict[str, str], scope: "Scope", receive: "Receive", send: "Send"
) -> None:
    from starlette.responses import PlainTextResponse

    await PlainTextResponse(f"{words}\n", status_code=status, headers=headers)(scope, receive, send)
