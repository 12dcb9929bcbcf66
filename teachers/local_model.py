"""A transformers model in this process: batched replies, and scores of given text. No queue, no event loop.

torch and transformers are imported inside the functions: the teachers' package stays light.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from lessons.errors import TeacherError
from lessons.jsonl import plain_text
from lessons.records import Message
from teachers.base import Finish, Sampling, TokenScore
from teachers.wire import shown

if TYPE_CHECKING:
    import torch

LOGITS = 1 << 27
"""Logits that are held at once while scoring: 0.5 GB in float32."""
TAIL = 8
"""Tokens looked at for a stop string beyond its own bytes: a token is at least a byte, or a control token."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Weights and tokenizer, ready to answer."""

    model: Any
    tokenizer: Any
    stops: frozenset[int]
    """Ids that end a turn: the tokenizer's own and all of the model's generation settings."""
    padding: int
    positions: int | None
    """Prompt and completion together have at most so many tokens; None where the model does not say."""

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens of a chat, up to where the assistant begins.

        Raises:
            TeacherError: the chat template refuses this chat.
        """
        chat = [{"role": turn["role"], "content": plain_text(turn["content"])} for turn in messages]
        try:
            text = self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # a template may raise anything that jinja or its own raise_exception does
            raise TeacherError(f"the chat template refuses this chat: {shown(error)}") from error
        return self.tokens(str(text))

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text by itself; none is added at its ends."""
        return [int(token) for token in self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def text(self, tokens: Sequence[int]) -> str:
        """Return the words of a reply, without control tokens."""
        words = [token for token in tokens if token not in self.stops]
        return str(self.tokenizer.decode(words, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def token_text(self, token: int, before: int) -> str:
        """Return one token's text. `before` is any token of text: a leading space is lost at a text's beginning."""
        lead, both = (
            str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
            for ids in ([before], [before, token])
        )
        return both[len(lead) :] if both.startswith(lead) else str(self.tokenizer.decode([token]))


class Written(NamedTuple):
    """One reply of a batch."""

    text: str
    finish: Finish
    """"other" where nobody waited for it any more."""
    tokens: int
    """The one that ended it included."""


def generate(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    seeds: Sequence[int],
    gone: Callable[[int], bool] = lambda row: False,
) -> list[Written]:
    """Answer a batch of prompts under one sampling.

    A row's draws depend on its own seed only. Of the model's generation settings only the ids that end a turn count: no
    top_k or repetition penalty that the recipe does not know of. gone: whether nobody waits for a row any more.
    """
    import torch
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    ends = _Ends(loaded, len(prompts), sampling, gone)
    warm = [_Draws(sampling, seeds, loaded.model.device)] if sampling.temperature > 0 else []
    # Settings of the model's own would fill in whatever is not said here.
    loaded.model.generation_config = GenerationConfig(eos_token_id=sorted(loaded.stops), pad_token_id=loaded.padding)
    with torch.inference_mode():
        loaded.model.generate(
            **_padded(prompts, loaded),
            max_new_tokens=sampling.max_tokens,
            do_sample=False,
            logits_processor=LogitsProcessorList(warm),
            stopping_criteria=StoppingCriteriaList([ends]),
        )
    return ends.written()


class _Ends:
    """Says which rows are done, and keeps what each wrote until then: after that, `generate` writes on beside it."""

    def __init__(self, loaded: LoadedModel, rows: int, sampling: Sampling, gone: Callable[[int], bool]) -> None:
        self._loaded, self._sampling, self._gone = loaded, sampling, gone
        self._tail = TAIL + max((len(stop.encode()) for stop in sampling.stop), default=0)
        self._tokens: list[list[int]] = [[] for _ in range(rows)]
        self._finish: dict[int, Finish] = {}

    def __call__(self, input_ids: "torch.Tensor", scores: object, **_: object) -> "torch.Tensor":
        import torch

        for row, token in enumerate(input_ids[:, -1].tolist()):
            if row not in self._finish:
                self._tokens[row].append(token)
                finish = self._ended(row, token)
                if finish is not None:
                    self._finish[row] = finish
        done = [row in self._finish for row in range(len(self._tokens))]
        return torch.tensor(done, device=input_ids.device)

    def _ended(self, row: int, token: int) -> Finish | None:
        if token in self._loaded.stops:
            return "stop"
        if self._sampling.stop:
            tail = self._loaded.text(self._tokens[row][-self._tail :])
            if any(stop in tail for stop in self._sampling.stop):
                return "stop"
        if self._gone(row):
            return "other"
        return "length" if len(self._tokens[row]) >= self._sampling.max_tokens else None

    def written(self) -> list[Written]:
        """Return what each row wrote, cut at its first stop string."""
        found: list[Written] = []
        for row, tokens in enumerate(self._tokens):
            text = self._loaded.text(tokens)
            cuts = [place for stop in self._sampling.stop if (place := text.find(stop)) >= 0]
            finish: Finish = "stop" if cuts else self._finish.get(row, "length")
            found.append(Written(text[: min(cuts)] if cuts else text, finish, len(tokens)))
        return found


class _Draws:
    """Sampling as an argmax: logits / temperature plus Gumbel noise, each row's from a generator of its own.

    So a reply does not depend on which others share its batch, which `generate`'s own sampling cannot promise.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int], device: "torch.device") -> None:
        import torch

        self._temperature, self._top_p = sampling.temperature, sampling.top_p
        self._generators = [torch.Generator(device).manual_seed(seed % (1 << 63)) for seed in seeds]

    def __call__(self, input_ids: object, scores: "torch.Tensor") -> "torch.Tensor":
        import torch

        scores = scores / self._temperature
        if self._top_p < 1.0:
            scores = nucleus(scores, self._top_p)
        noise = torch.empty_like(scores)
        for row, generator in enumerate(self._generators):
            noise[row].exponential_(generator=generator)
        return scores - noise.clamp(min=torch.finfo(noise.dtype).tiny).log()


def nucleus(scores: "torch.Tensor", top_p: float) -> "torch.Tensor":
    """Rule out all but the likeliest tokens that hold `top_p` of the chance together. scores: [rows, vocabulary]."""
    ordered, places = scores.sort(descending=True, dim=-1)
    chances = ordered.softmax(-1)
    beyond = chances.cumsum(-1) - chances >= top_p  # what stands before a token holds enough; never so for the first
    return scores.masked_fill(beyond.scatter(-1, places, beyond), float("-inf"))


def score(loaded: LoadedModel, rows: Sequence[tuple[list[int], list[int]]], top: int) -> list[list[TokenScore]]:
    """Return the scores of each row's completion: [row][completion token]. A row is (prompt, completion), in tokens.

    One forward pass per part of the batch that fits; logarithms in float32, at the completions' places only.
    """
    import torch

    vocabulary = int(loaded.model.get_output_embeddings().weight.shape[0])
    results: list[list[TokenScore]] = []
    for part in _parts(rows, max(1, LOGITS // vocabulary)):
        inputs = _padded([[*prompt, *completion[:-1]] for prompt, completion in part], loaded)
        positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        longest = max(len(completion) for _, completion in part)
        with torch.inference_mode():
            logits = loaded.model(**inputs, position_ids=positions, logits_to_keep=longest, use_cache=False).logits
            for (prompt, completion), row in zip(part, logits, strict=True):
                results.append(_scores(loaded, prompt[-1], completion, row[-len(completion) :].float(), top))
    return results


def _scores(
    loaded: LoadedModel, before: int, completion: list[int], logits: "torch.Tensor", top: int
) -> list[TokenScore]:
    """Read one row's scores out of its logits [completion token, vocabulary]."""
    import torch

    whole = logits.logsumexp(-1, keepdim=True)
    ids = torch.tensor(completion, device=logits.device)[:, None]
    chosen: list[float] = (logits.gather(-1, ids) - whole)[:, 0].tolist()
    values, places = logits.topk(top, -1)
    tops = zip(places.tolist(), (values - whole).tolist(), strict=True)
    return [
        TokenScore(
            id=token,
            token=loaded.token_text(token, before),
            logprob=min(0.0, logprob),
            top=tuple((int(place), min(0.0, value)) for place, value in zip(*best, strict=True)),
        )
        for token, logprob, best in zip(completion, chosen, tops, strict=True)
    ]


def _parts(rows: Sequence[tuple[list[int], list[int]]], most: int) -> Iterator[Sequence[tuple[list[int], list[int]]]]:
    """Yield runs of rows whose completions, each as long as the longest, have at most so many places together."""
    start = 0
    for place in range(1, len(rows) + 1):
        longest = max(len(completion) for _, completion in rows[start : place + 1])
        if place == len(rows) or (place + 1 - start) * longest > most:
            yield rows[start:place]
            start = place


def _padded(rows: Sequence[Sequence[int]], loaded: LoadedModel) -> "dict[str, torch.Tensor]":
    """Return `input_ids` and `attention_mask` [rows, positions], padded on the left."""
    import torch

    width = max(len(row) for row in rows)
    tokens = [[loaded.padding] * (width - len(row)) + list(row) for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    where = loaded.model.device
    return {"input_ids": torch.tensor(tokens, device=where), "attention_mask": torch.tensor(mask, device=where)}
