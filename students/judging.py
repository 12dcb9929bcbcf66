"""A causal language model as a judge: how likely it finds one token against another, after each of some prefixes.

That is how process reward models of the RLHFlow and Math-Shepherd kind are read: "+" against "-" after each step.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from lessons.errors import InputError
from lessons.records import Message
from lessons.timing import counts_as
from students.base import Progress
from students.chats import prompt_tokens
from students.decode import batches
from students.models import Base, with_weights
from students.residents import gone, resident
from students.runtime import Precision, device, dtype_of, give_back, prepare, quiet, threads_set
from students.scoring import LOGITS, head_sees

BATCH_TOKENS = 8192
"""Positions in one batch, as many as `HFStudent.score` takes."""


class Row(NamedTuple):
    """One pass of the model that answers for several prefixes of its tokens."""

    tokens: tuple[int, ...]
    ends: tuple[int, ...]
    """Lengths of the prefixes after which the next token is asked about, each in [1, len(tokens)], rising."""


def rows_of(prefixes: Sequence[Sequence[int]]) -> list[Row]:
    """Return as few rows as answer for all prefixes, in their order: one that the next one goes on from shares its row.

    prefixes: token ids, none empty.
    """
    rows: list[Row] = []
    for prefix in map(tuple, prefixes):
        if rows and len(rows[-1].tokens) < len(prefix) and prefix[: len(rows[-1].tokens)] == rows[-1].tokens:
            rows[-1] = Row(prefix, (*rows[-1].ends, len(prefix)))
        else:
            rows.append(Row(prefix, (len(prefix),)))
    return rows


class TokenJudge:
    """Reads the probability of one token against another. The model is loaded when it is first needed."""

    def __init__(self, base: Base, *, chat: bool = True, precision: Precision = "auto", threads: int = 0) -> None:
        """Take a base model; chat: whether its tokenizer must have a chat template."""
        self.base = base
        self.chat = chat
        self.precision: Precision = precision
        self.threads = threads
        self._model: Any = None

    @cached_property
    def tokenizer(self) -> Any:
        """The base model's tokenizer."""
        prepare()
        return self.base.tokenizer(chat=self.chat)

    def token(self, text: str) -> int:
        """Return the id of the token that a text ends in: "+" may stand as a blank and "+" in a vocabulary.

        Raises:
            InputError: the text has no token.
        """
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if not ids:
            raise InputError(f"{self.base.name}: its tokenizer has no token for {text!r}")
        return int(ids[-1])

    def after_chat(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens of a chat up to where the assistant begins."""
        return prompt_tokens(self.tokenizer, messages)

    def after_text(self, text: str) -> list[int]:
        """Return the tokens of plain text, with what the tokenizer puts before every text."""
        return [int(token) for token in self.tokenizer(text)["input_ids"]]

    @counts_as("score")
    def chances(
        self,
        asked: Sequence[Sequence[Sequence[int]]],
        good: int,
        bad: int,
        *,
        progress: Progress | None = None,
    ) -> list[list[float]]:  # [text][prefix]
        """Return the probability of `good`, in [0, 1], when only it and `bad` may follow.

        asked: the prefixes of each text, [text][prefix][token]. A text with a prefix that is longer than the model's
        positions has no answers: an empty list, never a guess.
        """
        import torch

        most = self.base.positions()
        found: list[list[float]] = [[] for _ in asked]
        rows: list[tuple[int, Row]] = []  # (place of the text, row)
        for place, prefixes in enumerate(asked):
            if most is None or all(len(prefix) <= most for prefix in prefixes):
                rows += [(place, row) for row in rows_of(prefixes)]
        answers: dict[int, list[float]] = {}
        with threads_set(self.threads), torch.inference_mode():
            for batch in batches([len(row.tokens) for _, row in rows], 0, self._room()) if rows else ():
                told = self._batch([rows[number][1] for number in batch], good, bad)
                answers.update(zip(batch, told, strict=True))
                if progress is not None:
                    progress(len(answers), len(rows))
        for number, (place, _) in enumerate(rows):
            found[place] += answers[number]
        return found

    def close(self) -> None:
        """Give back the memory of the loaded model; the next call loads it again."""
        self._model = None
        gone(self)
        give_back()

    def _loaded(self) -> Any:
        if self._model is None:
            prepare()
            with quiet():
                self._model = with_weights(self.base, None, dtype_of(self.precision, device())).to(device())
            resident(self)
        return self._model

    def _room(self) -> int:
        vocabulary = int(self._loaded().get_output_embeddings().weight.shape[0])
        return min(BATCH_TOKENS, max(1, LOGITS // vocabulary))

    def _batch(self, rows: Sequence[Row], good: int, bad: int) -> list[list[float]]:
        """Return the chances of each row's prefixes. Padding stands behind, where a causal model does not see it."""
        import torch

        model = self._loaded()
        width = max(len(row.tokens) for row in rows)
        tokens = torch.full((len(rows), width), int(self.tokenizer.pad_token_id), dtype=torch.long)
        mask = torch.zeros_like(tokens)
        places = torch.zeros_like(tokens, dtype=torch.bool)
        for number, row in enumerate(rows):
            tokens[number, : len(row.tokens)] = torch.tensor(row.tokens)
            mask[number, : len(row.tokens)] = 1
            places[number, torch.tensor(row.ends) - 1] = True
        where = model.device
        with head_sees(model, places.to(where)):
            logits = model(input_ids=tokens.to(where), attention_mask=mask.to(where), use_cache=False).logits[0]
        flat = torch.softmax(logits[:, [good, bad]].float(), -1)[:, 0].tolist()
        told: list[list[float]] = []
        for row in rows:
            told.append(flat[: len(row.ends)])
            flat = flat[len(row.ends) :]
        return told
