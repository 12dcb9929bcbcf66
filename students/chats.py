"""Chats to tokens: the one place where a prompt is rendered, so that training and answering see the same tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

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


STAND_IN = Message(role="user", content="x")
"""A chat that is rendered to see what a template writes around an assistant's turn."""


def begun_answer(prompt: Sequence[Message]) -> tuple[Sequence[Message], str]:
    """Return a chat without the answer that it begins, and that beginning; "" where the student is to begin itself."""
    if prompt and prompt[-1]["role"] == "assistant":
        return prompt[:-1], prompt[-1]["content"]
    return prompt, ""


def prompt_text(tokenizer: Any, prompt: Sequence[Message]) -> str:
    """Return a chat as the tokenizer's template renders it, up to where the assistant begins.

    An empty chat is nothing but the header of the assistant's turn, after the token that begins every text where the
    template writes one: no system message that the template adds by itself. A chat that ends in an assistant's turn is
    one whose answer is begun: the student goes on with that turn.

    Raises:
        StudentError: for an empty chat: the template writes no header of the assistant's turn behind the chat.
    """
    if prompt:
        chat, begun = begun_answer(prompt)
        return _rendered(tokenizer, chat, header=True) + without_control(tokenizer, begun)
    before, asked = _rendered(tokenizer, [STAND_IN]), _rendered(tokenizer, [STAND_IN], header=True)
    if not asked.startswith(before) or asked == before:
        raise StudentError("the chat template writes no header of the assistant's turn, so none can stand alone")
    header, begins = asked.removeprefix(before), str(tokenizer.bos_token or "")
    # Some templates begin every turn, the header too, with what the tokenizer calls the beginning of a text.
    stands_before = begins and asked.startswith(begins) and not header.startswith(begins)
    return begins + header if stands_before else header


def whole_text(tokenizer: Any, prompt: Sequence[Message], completion: str) -> str:
    """Return a chat with its completion as the tokenizer's template renders it; see `prompt_text` for an empty chat."""
    chat, begun = begun_answer(prompt)
    answer = Message(role="assistant", content=begun + completion)
    if prompt:
        return _rendered(tokenizer, [*chat, answer])
    asked, whole = _rendered(tokenizer, [STAND_IN], header=True), _rendered(tokenizer, [STAND_IN, answer])
    return prompt_text(tokenizer, prompt) + whole.removeprefix(asked) if whole.startswith(asked) else whole


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
    asked, whole = prompt_text(tokenizer, prompt), whole_text(tokenizer, prompt, completion)
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


def completion_offsets(tokenizer: Any, prompt: Sequence[Message], completion: str, row: Row) -> list[tuple[int, int]]:
    """Return the characters of the completion that each completion token of its row stands for, [begin, end).

    A token that stands for none (the end of the turn, what the template writes) has an empty range.

    Raises:
        StudentError: the template changes the completion, or the tokenizer cannot tell its characters.
    """
    asked, whole = prompt_text(tokenizer, prompt), whole_text(tokenizer, prompt, completion)
    trimmed = completion.strip()
    found = whole.find(trimmed, len(asked))
    first = found - completion.find(trimmed)  # where the completion would begin with the blanks that are trimmed
    if found < 0 or not tokenizer.is_fast:
        raise StudentError("its spans cannot be told in tokens: the chat template changes the completion's words")
    for text, before in ((whole, 0), (whole[len(asked) :], len(asked))):  # as `row_tokens` has it: together, or alone
        told = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        skipped = len(row.prompt) if before == 0 else 0
        ids = told["input_ids"][skipped : skipped + len(row.completion)]
        if list(ids) == row.completion and list(told["input_ids"][:skipped]) == row.prompt[:skipped]:
            places = told["offset_mapping"][skipped : skipped + len(row.completion)]
            length = len(completion)
            return [
                (min(max(begin + before - first, 0), length), min(max(end + before - first, 0), length))
                for begin, end in places
            ]
    raise StudentError("its spans cannot be told in tokens: the tokenizer reads the completion in two ways")


def until(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """Return what stands before the first of the texts that end an answer, and whether there is one."""
    places = [place for end in stop if (place := text.find(end)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def text_of(tokenizer: Any, tokens: Sequence[int], stops: frozenset[int]) -> str:
    """Return the words of an answer, without the token that ends it and any other control token."""
    words = [token for token in tokens if token not in stops]
    return str(tokenizer.decode(words, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def without_control(tokenizer: Any, text: str) -> str:
    """Return the text with a blank in every control token that it spells (`< |im_end|>`).

    Problems, lessons and answers are words of strangers: none of them may end its turn, or begin another one.
    """
    tokens = _control.get(tokenizer)
    if tokens is None:
        tokens = _control[tokenizer] = tuple(
            str(token) for token in tokenizer.all_special_tokens if len(str(token)) > 1
        )
    for token in tokens:
        if token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


_control: WeakKeyDictionary[Any, tuple[str, ...]] = WeakKeyDictionary()


def _rendered(tokenizer: Any, chat: Sequence[Message], *, header: bool = False) -> str:
    told = [Message(role=turn["role"], content=without_control(tokenizer, turn["content"])) for turn in chat]
    return str(tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=header))


def _encode(tokenizer: Any, text: str) -> list[int]:
    """Tokens of rendered text; the template has written every control token, so none is added."""
    return [int(token) for token in tokenizer(text, add_special_tokens=False)["input_ids"]]
