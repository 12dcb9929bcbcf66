"""Servers that people run themselves, as they behave."""

from typing import Any

from tests.teachers.endpoints.endpoint import ANSWER, THOUGHTS, Answer, Endpoint


class Ollama(Endpoint):
    """Takes any key; cuts a prompt that is too long and says nothing; knows no n and no max_completion_tokens."""

    needs_key = False
    ignored = ("n", "max_completion_tokens", "options", "num_ctx")

    def message(self) -> dict[str, Any]:
        return {"role": "assistant", "content": ANSWER, "reasoning": THOUGHTS}

    def cut_message(self) -> dict[str, Any]:
        return {"role": "assistant", "content": "", "reasoning": "hm " * 5}

    def unknown_model(self, model: str) -> Answer:
        return self.error(404, f"model '{model}' not found", kind="not_found_error")

    def too_long(self, tokens: int, body: dict[str, Any]) -> Answer:
        return self.complete(["cut"] * (self.context // 2 + 2), body)

    def too_long_said(self) -> Answer:  # newer versions, by the model's template
        return self.error(400, f"prompt too long; exceeded max context length by {200 - self.context} tokens")

    def overloaded(self) -> Answer:
        return self.error(503, "server busy, please try again.  maximum pending requests exceeded", kind="api_error")


class LlamaCpp(Endpoint):
    """Answers 503 while it loads; takes any model's name; refuses what does not fit, with the counts."""

    needs_key = False
    choices_at_most = 4

    def _answer(self, path: str, authorization: str, body: dict[str, Any]) -> Answer:
        return super()._answer(path, authorization, body | {"model": self.model})

    def error(self, status: int, message: str, code: Any = None, kind: str = "invalid_request_error") -> Answer:
        return Answer(status, {"error": {"code": status, "message": message, "type": kind}})

    def usage(self, prompt: int, said: int, thought: int) -> dict[str, Any]:
        return super().usage(prompt, said, thought) | {"prompt_tokens_details": {"cached_tokens": 1}}

    def message(self) -> dict[str, Any]:
        return {"role": "assistant", "content": ANSWER, "reasoning_content": THOUGHTS}

    def cut_message(self) -> dict[str, Any]:
        return {"role": "assistant", "content": "", "reasoning_content": "hm " * 5}

    def wrong_key(self) -> Answer:
        return self.error(401, "Invalid API Key", kind="authentication_error")

    def too_long(self, tokens: int, body: dict[str, Any]) -> Answer:
        words = f"request ({tokens} tokens) exceeds the available context size ({self.context} tokens)"
        told = self.error(400, f"{words}, try increasing it", kind="exceed_context_size_error")
        told.body["error"] |= {"n_prompt_tokens": tokens, "n_ctx": self.context}
        return told

    def overloaded(self) -> Answer:
        return self.error(503, "Loading model", kind="unavailable_error")


class LMStudio(Endpoint):
    """Errors are plain words, some of them with status 200; thoughts may stand in <think> tags."""

    needs_key = False
    tags = True

    def error(self, status: int, message: str, code: Any = None, kind: str = "") -> Answer:
        return Answer(status, {"error": message})

    def message(self) -> dict[str, Any]:
        if self.tags:
            return {"role": "assistant", "content": f"<think>\n{THOUGHTS}\n</think>\n\n{ANSWER}"}
        return {"role": "assistant", "content": ANSWER, "reasoning_content": THOUGHTS}

    def cut_message(self) -> dict[str, Any]:
        return {"role": "assistant", "content": "<think>\nhm hm"}

    def no_such_path(self, path: str) -> Answer:
        return self.error(200, f"Unexpected endpoint or method. (POST {path})")

    def unknown_model(self, model: str) -> Answer:
        words = f'Invalid model identifier "{model}". Please specify a valid downloaded model (e.g., {self.model}).'
        told = {"message": words, "type": "invalid_request_error", "param": "model", "code": "model_not_found"}
        return Answer(400, {"error": told})

    def none_loaded(self) -> Answer:
        return self.error(400, "No models loaded. Please load a model in the developer page or use 'lms load'.")

    def too_long(self, tokens: int, body: dict[str, Any]) -> Answer:
        words = "The number of tokens to keep from the initial prompt is greater than the context length"
        return self.error(400, f"{words} (n_keep: {tokens}>= n_ctx: {self.context}). Try to load the model with more.")

    def too_long_with_200(self) -> Answer:
        return Answer(200, self.too_long(200, {}).body)

    def overloaded(self) -> Answer:
        return self.error(400, "Model unloaded.")


class VLLM(Endpoint):
    choices_at_most = 8
    field = "reasoning"

    def error(self, status: int, message: str, code: Any = None, kind: str = "BadRequestError") -> Answer:
        return Answer(status, {"error": {"message": message, "type": kind, "param": None, "code": status}})

    def usage(self, prompt: int, said: int, thought: int) -> dict[str, Any]:
        return super().usage(prompt, said, thought) | {"prompt_tokens_details": None}

    def message(self) -> dict[str, Any]:
        return {"role": "assistant", "content": ANSWER, self.field: THOUGHTS, "refusal": None, "tool_calls": []}

    def cut_message(self) -> dict[str, Any]:
        return {"role": "assistant", "content": None, self.field: "hm " * 5}

    def wrong_key(self) -> Answer:
        return Answer(401, {"error": "Unauthorized"})

    def unknown_model(self, model: str) -> Answer:
        return self.error(404, f"The model `{model}` does not exist.", kind="NotFoundError")

    def too_long(self, tokens: int, body: dict[str, Any]) -> Answer:
        words = f"This model's maximum context length is {self.context} tokens. However, you requested {tokens} tokens"
        answer = self.error(400, words)
        return Answer(400, answer.body["error"] | {"object": "error"})  # the form without "error" around it

    def overloaded(self) -> Answer:
        return self.error(503, "the engine is starting", kind="ServiceUnavailableError")
