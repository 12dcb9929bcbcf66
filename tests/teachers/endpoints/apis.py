"""APIs over the network, as they behave."""

from typing import Any

from tests.teachers.endpoints.endpoint import ANSWER, Answer, Endpoint

GOOGLE = "type.googleapis.com/google.rpc."


class OpenAI(Endpoint):
    choices_at_most = 8

    def usage(self, prompt: int, said: int, thought: int) -> dict[str, Any]:
        return super().usage(prompt, said, thought) | {
            "prompt_tokens_details": {"cached_tokens": 1, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": thought, "accepted_prediction_tokens": 0},
        }

    def message(self) -> dict[str, Any]:
        return {"role": "assistant", "content": ANSWER, "refusal": None, "annotations": []}

    def limits(self) -> dict[str, str]:
        return {"x-ratelimit-remaining-requests": "4999", "x-ratelimit-reset-requests": "12ms"}

    def refusal(self, body: dict[str, Any]) -> Answer:
        message = {"role": "assistant", "content": None, "refusal": "I'm sorry, I can't help with that."}
        return Answer(200, self.body([{"index": 0, "message": message, "finish_reason": "stop"}], 2, 1, 0))

    def rate_limited(self) -> tuple[Answer, float]:
        words = "Rate limit reached for gpt in organization org-x on tokens per min (TPM): Limit 30000, Used 28039, "
        told = self.error(429, f"{words}Requested 3906. Please try again in 3.89s.", "rate_limit_exceeded", "tokens")
        told.headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "3.89s"}
        return told, 3.89

    def overloaded(self) -> Answer:
        return self.error(
            503, "The engine is currently overloaded", "server_is_overloaded", "service_unavailable_error"
        )


class OpenAIReasoning(OpenAI):
    def refuse(self, body: dict[str, Any]) -> Answer | None:
        if "max_tokens" in body:
            words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'"
            return self.error(400, words, "unsupported_parameter")
        if body.get("temperature", 1) != 1:
            words = f"Unsupported value: 'temperature' does not support {body['temperature']} with this model."
            return self.error(400, words, "unsupported_value")
        if named := sorted({"top_p", "stop"} & body.keys()):
            words = f"Unsupported parameter: '{named[0]}' is not supported with this model."
            return self.error(400, words, "unsupported_parameter")
        return None


class Anthropic(Endpoint):
    """Its compatibility layer; errors come in either of two forms."""

    ignored = ("seed", "response_format", "logprobs", "reasoning_effort")
    native = True
    newest = False

    def error(self, status: int, message: str, code: Any = None, kind: str = "invalid_request_error") -> Answer:
        if self.native:
            told = {"details": None, "type": code or kind, "message": message}
            return Answer(status, {"type": "error", "error": told, "request_id": "req_0"})
        told = {"code": code or kind, "message": message, "type": "invalid_request_error", "param": None}
        return Answer(status, {"error": told})

    def refuse(self, body: dict[str, Any]) -> Answer | None:
        if body.get("n", 1) != 1:
            return self.error(400, "n: must be 1")
        if self.newest and "temperature" in body:
            return self.error(400, "`temperature` is deprecated for this model.")
        if {"temperature", "top_p"} <= body.keys():
            words = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
            return self.error(400, words)
        return None

    def limits(self) -> dict[str, str]:
        return {
            "anthropic-ratelimit-requests-remaining": "49",
            "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:00Z",
        }

    def wrong_key(self) -> Answer:
        return self.error(401, "invalid x-api-key", "authentication_error")

    def unknown_model(self, model: str) -> Answer:
        return self.error(404, f"model: {model}", "not_found_error")

    def too_long(self, tokens: int, body: dict[str, Any]) -> Answer:
        return self.error(400, f"prompt is too long: {tokens} tokens > {self.context} maximum")

    def rate_limited(self) -> tuple[Answer, float]:
        words = "This request would exceed the rate limit for your organization of 20,000 input tokens per minute."
        told = self.error(429, words, "rate_limit_error")
        told.headers = {"retry-after": "13"}
        return told, 13.0

    def overloaded(self) -> Answer:
        return self.error(529, "Overloaded", "overloaded_error")

    def spend_limit(self) -> Answer:
        told = {"type": "rate_limit_error", "message": "You have reached your monthly limit"}
        told |= {"details": {"error_code": "enforced_spend_limit_reached"}}
        return Answer(429, {"type": "error", "error": told})


class Google(Endpoint):
    """Unknown members are refused; errors are a list; thoughts are seen in the total of the usage only."""

    path = "/v1beta/openai"
    choices_at_most = 8
    known = {"model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "n", "stop"} | {
        "response_format",
        "reasoning_effort",
        "extra_body",
        "stream",
        "tools",
    }

    def error(self, status: int, message: str, code: Any = None, kind: str = "INVALID_ARGUMENT") -> Answer:
        told: dict[str, Any] = {"code": status, "message": message, "status": kind}
        return Answer(status, [{"error": told | ({"details": code} if code else {})}])

    def refuse(self, body: dict[str, Any]) -> Answer | None:
        odd = sorted(body.keys() - self.known)
        if not odd:
            return None
        lines = [f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.' for name in odd]
        violations = {"@type": f"{GOOGLE}BadRequest", "fieldViolations": [{"description": line} for line in lines]}
        return self.error(400, "\n".join(lines), [violations])

    def usage(self, prompt: int, said: int, thought: int) -> dict[str, Any]:
        return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said + thought}

    def cut_message(self) -> dict[str, Any]:
        return {"role": "assistant"}

    def refusal(self, body: dict[str, Any]) -> Answer:
        choice = {"index": 0, "message": {"role": "assistant"}, "finish_reason": "SAFETY"}
        return Answer(200, self.body([choice], 2, 0, 0))

    def wrong_key(self) -> Answer:
        info = {"@type": f"{GOOGLE}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
        return self.error(400, "API key not valid. Please pass a valid API key.", [info])

    def unknown_model(self, model: str) -> Answer:
        return self.error(404, f"models/{model} is not found for API version v1main", kind="NOT_FOUND")

    def too_long(self, tokens: int, body: dict[str, Any]) -> Answer:
        words = f"The input token count ({tokens}) exceeds the maximum number of tokens allowed ({self.context})."
        return self.error(400, words)

    def quota(self, named: str) -> Answer:
        words = "You exceeded your current quota, please check your plan and billing details."
        violation = {"quotaMetric": "generativelanguage.googleapis.com/requests", "quotaId": named, "quotaValue": "250"}
        details = [
            {"@type": f"{GOOGLE}QuotaFailure", "violations": [violation]},
            {"@type": f"{GOOGLE}Help", "links": []},
            {"@type": f"{GOOGLE}RetryInfo", "retryDelay": "22s"},
        ]
        return self.error(429, words, details, "RESOURCE_EXHAUSTED")

    def rate_limited(self) -> tuple[Answer, float]:
        return self.quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"), 22.0

    def overloaded(self) -> Answer:
        return self.error(503, "The model is overloaded. Please try again later.", kind="UNAVAILABLE")
