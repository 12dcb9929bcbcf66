"""Makes the live page out of the report: the same page, with a line on top and the script that follows the run."""

import html
import json
import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent

_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')
_PROGRAM = re.compile(r"<script>(.*?)</script>", re.DOTALL)
"""A script that runs. What models wrote is escaped in the page and its data, so no other text looks like one."""
_BLOCK = re.compile(r'<script type="([a-z/]+)" id="([a-z0-9-]+)">(.*?)</script>', re.DOTALL)
"""A block of data, which no browser runs. The report has all of them in its element `data`."""


class LivePage(NamedTuple):
    """One version of the page."""

    version: str
    """Id of what the page shows."""
    whole: bytes
    """The document, to open."""
    update: bytes
    """JSON of version, programs, body and blocks (id -> type and digest): what a page that is open takes over."""
    blocks: dict[str, str]
    """Digest of a block of data -> its text."""
    policy: str
    """The content security policy that it must be served with."""


def live_page(report: str) -> LivePage:
    """Return the live page of a report's document.

    Raises:
        ValueError: the document is not a report's.
    """
    head, body_tag, body = _parts(report)
    policy = _POLICY.search(head)
    if policy is None:
        raise ValueError("the report names no content security policy")
    programs = _digest(policy[1])  # it names every script and every style
    found = {name: (kind, _digest(text), text) for kind, name, text in _BLOCK.findall(body)}
    blocks = {name: [kind, digest] for name, (kind, digest, _) in found.items()}
    content = _BLOCK.sub("", _PROGRAM.sub("", body))
    version = _digest(json.dumps([content, programs, blocks]))
    style, script = _own("live.css"), _own("live.js")
    head = head.replace(policy[0], "", 1) + f'<link rel="icon" href="data:,"><style>{style}</style>'
    first = _PROGRAM.search(body)
    place = first.start() if first else len(body)  # before the report's own scripts change what the server sent
    if _BLOCK.sub("", _PROGRAM.sub("", body[place:])).strip():
        raise ValueError("the report has content after its scripts")
    line = _own("live.html").replace("VERSION", version).replace("PROGRAMS", programs)
    line = line.replace("BLOCKS", html.escape(json.dumps(blocks)))
    whole = f"{head}</head>\n{body_tag}{line}{body[:place]}<script>{script}</script>{body[place:]}</body>\n</html>"
    return LivePage(
        version=version,
        whole=whole.encode(),
        update=json.dumps({"version": version, "programs": programs, "body": content, "blocks": blocks}).encode(),
        blocks={digest: text for _, digest, text in found.values()},
        policy=_policy(html.unescape(policy[1]), style, script),
    )


def plain_page(trouble: str) -> LivePage:
    """Return a page that only says why there is no other, and looks again."""
    report = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'none'; "
        "style-src 'none'; img-src data:; base-uri 'none'; form-action 'none'\">\n<title>Tutelage</title>\n</head>\n"
        f"<body>\n<main><h1>This run cannot be shown yet</h1><p>{html.escape(trouble)}</p></main>\n</body>\n</html>"
    )
    return live_page(report)


def _parts(report: str) -> tuple[str, str, str]:
    """Return the head, the body's tag and what is in the body."""
    head, closed, rest = report.partition("</head>")
    tag = re.match(r"\s*<body[^>]*>", rest)
    body, ended, _ = rest.rpartition("</body>")
    if not closed or not ended or tag is None:
        raise ValueError("the report is not one HTML document")
    return head, tag[0].strip(), body[tag.end() :]


def _policy(of_report: str, style: str, script: str) -> str:
    """Widen the report's policy by the line's style and script, and by asking this server; nothing may frame it."""
    rules = {name: rest for name, _, rest in (rule.strip().partition(" ") for rule in of_report.split(";"))}
    for name, text in (("style-src", style), ("script-src", script)):
        before = rules.get(name, "'none'").replace("'none'", "").split()
        rules[name] = " ".join([*before, f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"])
    rules["connect-src"] = "'self'"
    rules["frame-ancestors"] = "'none'"
    return "; ".join(f"{name} {rest}".strip() for name, rest in rules.items() if name)


@cache
def _own(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
