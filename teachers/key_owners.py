"""Whose a key is, by the name of its variable: one provider's key goes to that provider alone, whatever a recipe says.

A recipe names the variable that holds a key and the address that the key is sent to. One that was written by somebody
else, or copied with the wrong address, would hand the key of one to another.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from lessons.errors import TeacherError

OWNERS: Mapping[str, tuple[str, ...]] = {
    "OPENAI_API_KEY": ("openai.com", "azure.com"),
    "AZURE_OPENAI_API_KEY": ("azure.com",),
    "ANTHROPIC_API_KEY": ("anthropic.com",),
    "GEMINI_API_KEY": ("googleapis.com",),
    "GOOGLE_API_KEY": ("googleapis.com",),
    "MISTRAL_API_KEY": ("mistral.ai",),
    "GROQ_API_KEY": ("groq.com",),
    "TOGETHER_API_KEY": ("together.ai", "together.xyz"),
    "FIREWORKS_API_KEY": ("fireworks.ai",),
    "DEEPSEEK_API_KEY": ("deepseek.com",),
    "OPENROUTER_API_KEY": ("openrouter.ai",),
    "XAI_API_KEY": ("x.ai",),
    "PERPLEXITY_API_KEY": ("perplexity.ai",),
    "COHERE_API_KEY": ("cohere.com", "cohere.ai"),
    "NVIDIA_API_KEY": ("nvidia.com",),
    "OLLAMA_API_KEY": ("ollama.com",),
    "HF_TOKEN": ("huggingface.co",),
    "HUGGING_FACE_HUB_TOKEN": ("huggingface.co",),
    "WANDB_API_KEY": ("wandb.ai",),
    "GITHUB_TOKEN": ("github.com", "github.ai"),
    "GH_TOKEN": ("github.com", "github.ai"),
    "AWS_ACCESS_KEY_ID": ("amazonaws.com",),
    "AWS_SECRET_ACCESS_KEY": ("amazonaws.com",),
    "AWS_SESSION_TOKEN": ("amazonaws.com",),
    "AWS_BEARER_TOKEN_BEDROCK": ("amazonaws.com",),
}
"""Variable -> the domains of whoever gave the key, as their own documentation names variable and address."""
_HERE = ("127.0.0.1", "localhost", "::1")


def check_owner(variables: Iterable[str], base_url: str) -> None:
    """Refuse to send a provider's key elsewhere. Servers of this machine may have any.

    variables: names of environment variables whose values go to this address; "" for none.

    Raises:
        TeacherError: fatal: a variable is a known provider's, and the address is another's.
    """
    host = (urlsplit(base_url).hostname or "").rstrip(".").lower()
    if host in _HERE:
        return
    for name in variables:
        domains = OWNERS.get(name.upper())
        if domains is not None and not any(host == domain or host.endswith(f".{domain}") for domain in domains):
            raise TeacherError(
                f"the key in {name} is for {domains[0]}, and base_url leads to {host}: nothing was sent. Export the "
                "key of that endpoint under a name of its own (export ENDPOINT_KEY=...) and give that name",
                fatal=True,
            )


def variables_of(key: str, headers: Mapping[str, str]) -> list[str]:
    """Return the names of the environment variables that a teacher's knobs name."""
    return [key, *(value[1:] for value in headers.values() if value.startswith("$"))]
