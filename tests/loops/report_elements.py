"""What a browser would make of a report, read without one."""

import base64
import gzip
import json
from html.parser import HTMLParser
from typing import Any


class Elements(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.blocks: dict[str, list[str]] = {"script": [], "style": []}
        self.data: dict[str, str] = {}
        """Id -> content of the script elements that no browser runs."""
        self._open = self._name = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        given = dict(attrs)
        if tag in self.blocks:
            self._open = tag
            self._name = given.get("id") or "" if given.get("type") in ("text/plain", "application/json") else ""
            if self._name:
                self.data[self._name] = ""
            else:
                self.blocks[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._open:
            self._open = self._name = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            if self._name:
                self.data[self._name] += data
            else:
                self.blocks[self._open][-1] += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    @property
    def policy(self) -> str:
        return next(v for _, name, v in self.attributes if name == "content" and v.startswith("default-src"))

    @property
    def figures(self) -> dict[str, Any]:
        return json.loads(self.data["figures"])

    def unpacked(self, name: str) -> Any:
        return json.loads(gzip.decompress(base64.b64decode(self.data[name])))

    @property
    def chains(self) -> list[dict[str, Any]]:
        count = sum(name.startswith("chains-") for name in self.data)
        return [chain for number in range(count) for chain in self.unpacked(f"chains-{number}")]
