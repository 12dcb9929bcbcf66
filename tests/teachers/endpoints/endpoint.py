"""Endpoints as they behave: one loopback server for each, with its own refusals, error forms, headers and usage.

A prompt decides what a model does: "refuse" makes it refuse, "think long" spends max_tokens on thoughts, and a prompt
of more than `context` words is too long. A word is a token. Sources of each quirk are in docs/endpoints/.
"""

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

LONG = "word " * 200
ANSWER, THOUGHTS = "It is 4.", "two and two"


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


class Endpoint:
    """What all have in common; a subclass says how its endpoint differs."""

    path = "/v1"
    needs_key = True
    context = 150
    ignored: tuple[str, ...] = ()
    """Members of a request that have no effect."""
    choices_at_most = 1

    def __init__(self, model: str) -> None:
        self.model, self.key = model, "right-key-Abc123"
        self.requests: list[dict[str, Any]] = []
        self.next: deque[Answer] = deque()
        """Answers to give before anything else, one a request."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}{self.path}"

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._serve), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.Response:
        body = json.loads(await request.content.read() or b"{}")
        answer = self._answer(request.path, request.headers.get("Authorization", ""), body)
        raw = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        return web.Response(body=raw, status=answer.status, headers=answer.headers, content_type="application/json")

    def _answer(self, path: str, authorization: str, body: dict[str, Any]) -> Answer:
        if path != f"{self.path}/chat/completions":
            return self.no_such_path(path)
        self.requests.append(body)
        if self.next:
            return self.next.popleft()
        if self.needs_key and authorization != f"Bearer {self.key}":
            return self.wrong_key()
        if body["model"] != self.model:
            return self.unknown_model(body["model"])
        body = {name: value for name, value in body.items() if name not in self.ignored}
        refused = self.refuse(body)
        if refused is not None:
            return refused
        words = " ".join(turn["content"] for turn in body["messages"]).split()
        if len(words) > self.context:
            return self.too_long(len(words), body)
        return self.complete(words, body)

    def complete(self, words: list[str], body: dict[str, Any]) -> Answer:
        if "refuse" in words:
            return self.refusal(body)
        most = body.get("max_completion_tokens") or body.get("max_tokens") or 10_000
        if "long" in words and "think" in words:
            choices = [{"index": 0, "message": self.cut_message(), "finish_reason": "length"}]
            return Answer(200, self.body(choices, len(words), 0, most))
        count = min(body.get("n") or 1, self.choices_at_most)
        choices = [{"index": i, "message": self.message(), "finish_reason": "stop"} for i in range(count)]
        return Answer(200, self.body(choices[::-1], len(words), 3 * count, 3 * count), self.limits())

    def body(self, choices: list[Any], prompt: int, said: int, thought: int) -> dict[str, Any]:
        return {"object": "chat.completion", "model": self.model, "choices": choices} | {
            "usage": self.usage(prompt, said, thought)
        }

    def usage(self, prompt: int, said: int, thought: int) -> dict[str, Any]:
        completion = said + thought
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def message(self) -> dict[str, Any]:
        return {"role": "assistant", "content": ANSWER}

    def cut_message(self) -> dict[str, Any]:
        return {"role": "assistant", "content": ""}

    def limits(self) -> dict[str, str]:
        return {}

    def refuse(self, body: dict[str, Any]) -> Answer | None:
        return None

    def refusal(self, body: dict[str, Any]) -> Answer:
        choice = {"index": 0, "message": {"role": "assistant", "content": "No."}, "finish_reason": "content_filter"}
        return Answer(200, self.body([choice], 2, 1, 0))

    def error(self, status: int, message: str, code: Any = None, kind: str = "invalid_request_error") -> Answer:
        return Answer(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})

    def no_such_path(self, path: str) -> Answer:
        return self.error(404, f"Invalid URL (POST {path})")

    def wrong_key(self) -> Answer:
        return self.error(401, "Incorrect API key provided", "invalid_api_key")

    def unknown_model(self, model: str) -> Answer:
        return self.error(404, f"The model `{model}` does not exist", "model_not_found")

    def too_long(self, tokens: int, body: dict[str, Any]) -> Answer:
        words = f"This model's maximum context length is {self.context} tokens. Your messages have {tokens} tokens."
        return self.error(400, words, "context_length_exceeded")

    def rate_limited(self) -> tuple[Answer, float]:  # and the seconds that it asks to wait
        raise NotImplementedError

    def overloaded(self) -> Answer:
        raise NotImplementedError
