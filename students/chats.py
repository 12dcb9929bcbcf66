"""Chats to tokens: the one place where a prompt is rendered, so that training and answering see the same tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lessons.errors import StudentError
from lessons.records import Message


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and the tokens that are to follow it."""

    prompt: list[int]
    completion: list[int]
    """The assistant's words and the token that ends its turn; what the template writes after that is left out."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


def prompt_text(tokenizer: Any, prompt: Sequence[Message]) -> str:
    """Return a chat as the tokenizer's template renders it, up to where the assistant begins."""
    return str(tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True))


def prompt_tokens(tokenizer: Any, prompt: Sequence[Message]) -> list[int]:
    """Return the tokens that a student answers after."""
    return _encode(tokenizer, prompt_text(tokenizer, prompt))


def row_tokens(tokenizer: Any, prompt: Sequence[Message], completion: str, stops: frozenset[int]) -> Row:
    """Return the tokens of a prompt and of its completion.

    stops: ids of the tokens that end a turn. The completion ends with the first of them.

    Raises:
        StudentError: the template renders the prompt otherwise once an answer follows, or writes no token that ends
            the turn, so that a student would be trained on what it never sees, or never learn to stop.
    """
    asked = prompt_text(tokenizer, prompt)
    answer = Message(role="assistant", content=completion)
    whole = str(tokenizer.apply_chat_template([*prompt, answer], tokenize=False))
    if not whole.startswith(asked):
        raise StudentError(
            "the chat template renders the prompt differently once an answer follows it; "
            "use a template that renders the prompt the same way in both cases"
        )
    first = _encode(tokenizer, asked)
    both = _encode(tokenizer, whole)
    # Where tokens merge over the boundary, the answer is encoded by itself: the prompt keeps the tokens of answering.
    rest = both[len(first) :] if both[: len(first)] == first else _encode(tokenizer, whole[len(asked) :])
    end = next((place for place, token in enumerate(rest) if token in stops), None)
    if end is None:
        raise StudentError(
            "the chat template does not end the assistant's turn with a token that stops generation; "
            "set eos_token_id in the model's generation_config.json to the token that ends a turn"
        )
    return Row(first, rest[: end + 1])


def text_of(tokenizer: Any, tokens: Sequence[int], stops: frozenset[int]) -> str:
    """Return the words of an answer, without the token that ends it and any other control token."""
    words = [token for token in tokens if token not in stops]
    return str(tokenizer.decode(words, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _encode(tokenizer: Any, text: str) -> list[int]:
    """Tokens of rendered text; the template has written every control token, so none is added."""
    return [int(token) for token in tokenizer(text, add_special_tokens=False)["input_ids"]]
