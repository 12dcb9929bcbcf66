"""The live page's server, asked over real sockets: who is let in, what every answer says, what a look costs."""

import asyncio
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import InputError
from loops.reading import RunView
from loops.report import page
from loops.ui import patience
from loops.ui.following import Follower, status_of
from loops.ui.guarding import LARGEST_REQUEST, TICKET, Tickets
from loops.ui.live_page import live_page
from loops.ui.serving import application, serve
from loops.watching.standing import Standing

ROOT = Path(__file__).parents[2]
TOKEN = "t0ken-of-this-test"
REPORT = (
    '<!doctype html>\n<html>\n<head>\n<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    "<title>{title}</title>\n<style>p {{}}</style>\n</head>\n<body>\n<main><p>{title}</p></main>\n"
    '<div id="data"><script type="application/json" id="figures">{{}}</script></div>\n'
    "<script>drawing</script>\n</body>\n</html>"
)
POLICY = (
    "default-src &#39;none&#39;; script-src &#39;sha256-x&#39;; style-src &#39;none&#39;; form-action &#39;none&#39;"
)


def small(title: str = "a run") -> str:
    return REPORT.format(policy=POLICY, title=title)


@dataclass
class Served:
    port: int
    follower: Follower
    tickets: Tickets

    def ask(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET", body: bytes | None = None
    ) -> tuple[int, dict[str, str], str]:  # (status, headers in lower case, body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            return (
                answer.status,
                {name.lower(): value for name, value in answer.getheaders()},
                answer.read().decode(),
            )


@contextmanager
def served(run: Path, render: Callable[[RunView], str]) -> Generator[Served]:
    """Serve a run on a thread, as `tutelage ui` does on the main one."""
    follower, tickets = Follower(run, render=render), Tickets()
    server = patience.patient_server(application(follower, TOKEN, tickets))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    try:
        yield Served(listening.getsockname()[1], follower, tickets)
    finally:
        server.should_exit = True
        thread.join()
        follower.close()


@pytest.fixture(scope="module")
def server(example_run: Path) -> Iterator[Served]:
    with served(example_run, lambda run: small(run.name)) as found:
        yield found


def test_the_page_its_update_and_the_status(server: Served, example_run: Path) -> None:
    status, headers, text = server.ask(f"/{TOKEN}/")
    assert status == 200
    assert example_run.name in text
    assert 'id="live"' in text
    assert "http-equiv" not in text  # the policy is a header here, which is wider by the line's own script
    assert headers["content-security-policy"].count("sha256-") == 3
    assert "connect-src 'self'" in headers["content-security-policy"]
    status, headers, text = server.ask(f"/{TOKEN}/status")
    told = json.loads(text)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert (told["state"], told["sentence"]) == ("finished", "finished")
    update = json.loads(server.ask(f"/{TOKEN}/update")[2])
    assert update["version"] == told["version"] != ""
    assert "drawing" not in update["body"]
    kind, digest = update["blocks"]["figures"]
    assert kind == "application/json"
    status, headers, text = server.ask(f"/{TOKEN}/block/{digest}")
    assert (status, headers["content-type"], text) == (200, "text/plain; charset=utf-8", "{}")
    assert server.ask(f"/{TOKEN}/block/other")[0] == 404


@pytest.mark.parametrize("path", ["/", f"/{TOKEN}/", f"/{TOKEN}/update", f"/{TOKEN}/status", f"/{TOKEN}/<b>x"])
def test_every_answer_has_the_headers(server: Served, path: str) -> None:
    for method in ("GET", "HEAD", "POST"):
        status, headers, text = server.ask(path, method=method)
        assert status in (200, 403, 404, 405)
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert not [name for name in headers if name.startswith("access-control")]
        assert "server" not in headers
        assert method == "GET" or text in ("", "Only GET and HEAD.\n")


@pytest.mark.parametrize(
    "path", ["/", "/favicon.ico", "/wrong/", f"/{TOKEN[:-1]}/", f"/{TOKEN}x/status", f"//{TOKEN}/"]
)
def test_without_the_token_nothing_is_said(server: Served, path: str, example_run: Path) -> None:
    status, _, text = server.ask(path)
    assert status == 403
    assert "tutelage ui printed" in text
    assert example_run.name not in text
    assert TOKEN not in text


@pytest.mark.parametrize(
    "name", ["recipe.yaml", "../recipe.yaml", "%2e%2e/recipe.yaml", "rounds/01/lessons.jsonl", "<b>x"]
)
def test_another_path_is_no_file_and_is_not_repeated(server: Served, name: str) -> None:
    status, _, text = server.ask(f"/{TOKEN}/{name}")
    assert (status, text) == (404, "Not Found")


def test_the_token_alone_without_its_slash_is_no_page(server: Served) -> None:
    assert server.ask(f"/{TOKEN}")[0] == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "", "[::1]:{port}", "0.0.0.0"]
)
def test_another_host_is_refused(server: Served, host: str) -> None:
    status, _, text = server.ask(f"/{TOKEN}/", {"Host": host.format(port=server.port)})
    assert status == 421
    assert "127.0.0.1" in text


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "localhost:9000", "localhost"])
def test_loopback_names_are_let_in_also_through_a_tunnel(server: Served, host: str) -> None:
    named = host.format(port=server.port)
    assert server.ask(f"/{TOKEN}/status", {"Host": named})[0] == 200
    assert server.ask(f"/{TOKEN}/status", {"Host": named, "Origin": f"http://{named}"})[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1", ""])
def test_another_origin_is_refused(server: Served, origin: str) -> None:
    assert server.ask(f"/{TOKEN}/status", {"Origin": origin})[0] == 403


@pytest.mark.parametrize(
    ("site", "mode", "destination", "expected"),
    [
        ("same-origin", "cors", "empty", 200),
        ("none", "navigate", "document", 200),
        ("cross-site", "navigate", "document", 200),  # a link in a chat or in a terminal that is a web page
        ("cross-site", "navigate", "iframe", 403),
        ("cross-site", "no-cors", "script", 403),
        ("same-site", "cors", "empty", 403),  # another port of this machine
    ],
)
def test_what_another_page_asks_for_is_refused(
    server: Served, site: str, mode: str, destination: str, expected: int
) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}
    assert server.ask(f"/{TOKEN}/", headers)[0] == expected


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_only_reading(server: Served, method: str) -> None:
    status, headers, _ = server.ask(f"/{TOKEN}/", method=method)
    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_a_request_has_no_body_and_a_small_head(server: Served) -> None:
    assert server.ask(f"/{TOKEN}/", body=b"x")[0] == 413
    assert server.ask(f"/{TOKEN}/", {"X": "y" * 2 * LARGEST_REQUEST})[0] == 431
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sent:
        sent.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 2 * LARGEST_REQUEST)  # and no end
        assert sent.recv(12) == b"HTTP/1.1 400"


def test_a_web_socket_gets_none(server: Served) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "eA==",
    }
    status, answered, _ = server.ask(f"/{TOKEN}/status", headers)
    assert status == 200  # an ordinary answer: nothing was upgraded
    assert "upgrade" not in answered


def test_a_request_that_never_becomes_whole_is_not_waited_for(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SLOWEST", 0.1)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as held:
        held.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
        assert held.recv(100) == b""  # the server has closed it


def test_a_ticket_leads_to_the_page_once(server: Served) -> None:
    ticket = server.tickets.issue()
    assert server.ask(f"/{ticket}", {"Host": "evil.example"})[0] == 421
    status, headers, _ = server.ask(f"/{ticket}")
    assert (status, headers["location"]) == (303, f"/{TOKEN}/")
    assert server.ask(f"/{ticket}")[0] == 403


def test_a_ticket_is_good_for_a_while() -> None:
    now = [100.0]
    tickets = Tickets(lambda: now[0])
    early, late = tickets.issue(), tickets.issue()
    assert not tickets.take("")
    assert tickets.take(early)
    now[0] += TICKET
    assert not tickets.take(late)


async def test_a_run_is_rendered_when_it_changes_and_not_when_it_is_looked_at(own_run: Path) -> None:
    now = [100.0]

    def render(run: RunView) -> str:
        now[0] += 2.0  # a rendering takes two seconds of this clock
        return small(f"{len(run.rounds)} rounds, {run.state}")

    follower = Follower(own_run, render=render, clock=lambda: now[0])
    first = await follower.page()
    assert first is not None
    for _ in range(20):
        now[0] += 1
        assert (await follower.status()).version == first.version
    assert follower.renderings == 1
    (own_run / "live.json").write_text("{}")  # the heartbeat and the ledger change with every call
    (own_run / "calls.sqlite").write_bytes(b"")
    (own_run / "rounds/02/.lessons.jsonl.77.tmp").write_text("half")  # what is being written is not there yet
    now[0] += 1
    await follower.status()
    assert follower.renderings == 1
    shutil.rmtree(own_run / "rounds" / "02")
    for _ in range(12):
        now[0] += 1
        await follower.status()
        await follower.page()
        await asyncio.sleep(0.01)
        if follower.renderings == 2:
            break
    second = await follower.page()
    assert second is not None
    assert second.version != first.version
    (own_run / "finished.json").unlink()
    for _ in range(7):  # a rendering that took 2 seconds is not followed by another for 8
        now[0] += 1
        await follower.status()
        await asyncio.sleep(0.01)
    assert follower.renderings == 2
    now[0] += 2
    await follower.status()
    for _ in range(100):
        await asyncio.sleep(0.01)
        if follower.renderings == 3:
            break
    assert follower.renderings == 3
    follower.close()


async def test_only_one_rendering_at_a_time_and_many_viewers_share_it(own_run: Path) -> None:
    inside, most, go_on = 0, 0, threading.Event()

    def render(run: RunView) -> str:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        go_on.wait(20)
        inside -= 1
        return small()

    follower = Follower(own_run, render=render)
    asked = [asyncio.create_task(follower.page()) for _ in range(20)]
    statuses = await asyncio.gather(*(follower.status() for _ in range(20)))  # answered while it is rendered
    assert {status.version for status in statuses} == {""}
    go_on.set()
    pages = await asyncio.gather(*asked)
    assert len({found.version for found in pages if found}) == 1
    assert (most, follower.renderings) == (1, 1)
    follower.close()


async def test_a_page_that_cannot_be_made_is_said_and_the_last_one_stays(own_run: Path) -> None:
    now, broken = [100.0], [False]

    def render(run: RunView) -> str:
        if broken[0]:
            raise InputError("rounds/01/lessons.jsonl: line 3: \x1b[31mwrong")
        return small()

    follower = Follower(own_run, render=render, clock=lambda: now[0])
    whole = await follower.page()
    broken[0] = True
    shutil.rmtree(own_run / "rounds" / "02")
    status = await follower.status()
    for _ in range(200):
        now[0] += 1
        status = await follower.status()
        await asyncio.sleep(0.01)
        if status.trouble:
            break
    assert status.trouble == "rounds/01/lessons.jsonl: line 3: ⟨ESC⟩[31mwrong"
    assert await follower.page() is whole
    shutil.rmtree(own_run)
    now[0] += 1
    assert "there is no such folder" in (await follower.status()).trouble
    follower.close()


def test_a_damaged_run_has_a_page_that_says_so(own_run: Path) -> None:
    (own_run / "rounds/01/metrics.json").write_text("<script>alert(1)</script>")

    def render(run: RunView) -> str:
        raise InputError("<script>alert(1)</script>: is damaged")

    with served(own_run, render) as found:
        status, headers, text = found.ask(f"/{TOKEN}/")
        assert status == 503
        assert "&lt;script&gt;alert(1)&lt;/script&gt;: is damaged" in text
        assert "<script>alert" not in text
        assert headers["content-security-policy"].count("sha256-") == 2
        assert found.ask(f"/{TOKEN}/update")[0] == 503


def test_the_live_page_is_the_report_and_a_line(example_run: Path) -> None:
    report = page(RunView.open(example_run))
    live = live_page(report)
    whole = live.whole.decode()
    body = report.partition("<body>")[2].rpartition("</body>")[0]
    for part in re.split(r"<script>.*?</script>", body, flags=re.DOTALL):
        assert part in whole
    assert len(live.update) < len(live.whole) / 5  # without the drawing library
    assert live_page(report).version == live.version
    assert live_page(report.replace("held-out", "held out")).version != live.version
    changed = live_page(report.replace("</script>\n<script", "A</script>\n<script", 1))
    assert len(changed.blocks.keys() - live.blocks.keys()) == 1  # and only that is fetched again
    for block in re.findall(r"<script>(.*?)</script>|<style[^>]*>(.*?)</style>", whole, re.DOTALL):
        text = "".join(block)
        assert _hash(text) in live.policy
    assert "'unsafe-inline'" not in live.policy.replace("style-src-attr 'unsafe-inline'", "")


def _hash(text: str) -> str:
    from base64 import b64encode
    from hashlib import sha256

    return b64encode(sha256(text.encode()).digest()).decode()


@pytest.mark.parametrize("text", ["", "<html><head></head></html>", small().replace("http-equiv", "x")])
def test_only_a_report_becomes_a_live_page(text: str) -> None:
    with pytest.raises(ValueError, match="the report"):
        live_page(text)


@given(
    texts=st.tuples(st.text(), st.text(), st.text(), st.text(), st.text()),
    counts=st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)),
    state=st.sampled_from(["running", "finished", "stopped", "killed"]),
)
def test_the_status_is_short_visible_lines(texts: tuple[str, ...], counts: tuple[int, int], state: str) -> None:
    where, doing, line, said, reason = texts
    found = status_of(
        Standing(
            state=state, where=where, doing=doing, done=counts[0], total=counts[1], line=line, said=said, reason=reason
        ),
        "v",
    )
    for text in (found.sentence, found.count, found.line, found.note):
        assert len(text) <= 300
        assert text.isprintable() or not re.search(r"[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)
    assert found.sentence.startswith(state)
    assert found.share is None or 0 <= found.share <= 1


def test_silence_is_said() -> None:
    found = status_of(Standing(state="running", where="round 1 of 2, teach", done=3, total=1200, quiet=64.0), "v")
    assert (found.sentence, found.count, found.note) == (
        "running: round 1 of 2, teach", "3 of 1,200", "nothing has gone on for 1 m 04 s",
    )  # fmt: skip
    assert status_of(Standing(state="running", where="", quiet=2.0), "v").note == ""


@contextmanager
def command(*arguments: str) -> Generator[subprocess.Popen[str]]:
    line = [sys.executable, "-c", "from loops.cli import main; main()", "ui", *arguments]
    process = subprocess.Popen(
        line, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_command_prints_its_address_listens_on_loopback_alone_and_ends_with_ctrl_c(example_run: Path) -> None:
    with command(str(example_run), "--json") as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/([\w-]{32,})/", url)
        assert found is not None
        listening = [c.laddr for c in psutil.Process(process.pid).net_connections("all") if c.status == "LISTEN"]
        assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", int(found[1]))]
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
        connection.request("GET", f"/{found[2]}/status")
        assert json.loads(connection.getresponse().read())["state"] == "finished"  # and the connection stays open
        others = {c.raddr.ip for c in psutil.Process(process.pid).net_connections("inet") if c.raddr}
        assert others == {"127.0.0.1"}  # it has asked nobody else
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        connection.close()
        assert (process.returncode, out, err) == (0, "", "")


def test_each_start_has_its_own_token(example_run: Path) -> None:
    urls: set[str] = set()
    for _ in range(2):
        told: list[str] = []

        def heard(url: str, told: list[str] = told) -> None:
            told.append(url)
            raise KeyboardInterrupt

        serve(example_run, told=heard)
        urls |= {url.split("/")[3] for url in told}
    assert len(urls) == 2


def test_a_taken_port_and_a_missing_run_are_one_line(example_run: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port {port}: cannot be used"):
            serve(example_run, port=port, told=print)
    with command(str(tmp_path / "none")) as process:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (2, "")
        assert err == f"tutelage: {tmp_path}/none: there is no such folder; name the folder of a run\n"


def test_watching_writes_nothing(own_run: Path) -> None:
    def files() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in own_run.rglob("*")}

    before = files()
    with served(own_run, page) as found:
        assert found.ask(f"/{TOKEN}/")[0] == 200
        deadline = time.monotonic() + 20
        while found.follower.renderings == 0 and time.monotonic() < deadline:
            found.ask(f"/{TOKEN}/status")
    assert {path: fact for path, fact in files().items() if "calls.sqlite" not in path.name} == {
        path: fact for path, fact in before.items() if "calls.sqlite" not in path.name
    }
