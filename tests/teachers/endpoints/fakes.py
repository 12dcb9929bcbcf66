"""The fake of each recipe in docs/endpoints/; openai.md has two."""

from tests.teachers.endpoints.apis import Anthropic, Google, OpenAI, OpenAIReasoning
from tests.teachers.endpoints.endpoint import Endpoint
from tests.teachers.endpoints.servers import VLLM, LlamaCpp, LMStudio, Ollama

PAGES: dict[str, type[Endpoint]] = {
    "openai": OpenAI,
    "openai-reasoning": OpenAIReasoning,
    "anthropic": Anthropic,
    "google": Google,
    "ollama": Ollama,
    "llama-cpp": LlamaCpp,
    "lm-studio": LMStudio,
    "vllm": VLLM,
}
