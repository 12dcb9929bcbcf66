"""How near two texts are in meaning, by a local model: the mean of its last hidden states over the words."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from lessons.errors import InputError
from lessons.records import Lesson
from loops.exams.index import ExamIndex, ExamProblem, Where, texts_of

BATCH = 256
"""Lessons that are embedded at once."""

TOKENS = 512
"""Tokens of a text that are read; the rest is left out."""

ENOUGH = 10
"""Exam questions from which their mean is taken off every vector. Our choice."""

ROWS = 32
"""Texts that go through the model at once."""


class TextEncoder:
    """A transformers model of a folder, from safetensors only; no code of the folder runs, and nothing is fetched.

    model: a folder, or `wheel:NAME` (see `students.wheel`). Models made for sentences (bge, e5, MiniLM, gte) tell texts
    apart far better than a language model does.
    """

    def __init__(self, model: str) -> None:
        """Name a model.

        Raises:
            InputError: there is no such folder.
        """
        if model.startswith("wheel:"):
            from students.wheel import wheel_model

            self.folder = Path(wheel_model(model.removeprefix("wheel:"))[0])
        else:
            self.folder = Path(model).expanduser()
        if not (self.folder / "config.json").is_file():
            raise InputError(f"{model}: is no folder of a transformers model (it has no config.json)")

    def encode(self, texts: Sequence[str]) -> Any:
        """Return a numpy array [text][width] in float32, one row a text; the rows are not normalised."""
        import numpy as np
        import torch

        tokenizer, model = self._loaded
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        rows: list[Any] = [None] * len(texts)
        with torch.inference_mode():
            for start in range(0, len(order), ROWS):
                places = order[start : start + ROWS]
                # A text without words still has a meaning to compare: none, so a space stands for it.
                taken = tokenizer(
                    [texts[place].strip() or " " for place in places],
                    padding=True, truncation=True, max_length=TOKENS, return_tensors="pt",
                )  # fmt: skip
                hidden = model(input_ids=taken["input_ids"], attention_mask=taken["attention_mask"]).last_hidden_state
                mask = taken["attention_mask"].unsqueeze(-1).float()
                mean = (hidden.float() * mask).sum(1) / mask.sum(1).clamp(min=1)
                for place, row in zip(places, mean.numpy(), strict=True):
                    rows[place] = row
        return np.stack(rows) if rows else np.zeros((0, 1), dtype=np.float32)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from students.runtime import prepare, quiet

        prepare()
        from transformers import AutoModel, AutoTokenizer

        try:
            with quiet():
                tokenizer: Any = AutoTokenizer.from_pretrained(
                    self.folder, trust_remote_code=False, local_files_only=True
                )
                model: Any = AutoModel.from_pretrained(
                    self.folder, trust_remote_code=False, use_safetensors=True, local_files_only=True
                )
        except (OSError, ValueError) as error:
            raise InputError(f"{self.folder}: the model cannot be loaded ({str(error).splitlines()[0]})") from error
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "right"
        return tokenizer, model.eval()


class Near(NamedTuple):
    """The exam problem that a lesson is nearest to."""

    cosine: float
    owner: ExamProblem
    where: Where
    text: str
    """The lesson's text that is so near."""


class Meaning:
    """Finds the exam problem that a text is nearest to.

    Every vector is taken less the mean of the exam's own: hidden states share one large direction, so that without it
    any two texts are alike (Mu and Viswanath 2018, arXiv 1702.01417). An exam of fewer than `ENOUGH` questions has no
    mean worth the name, and none is taken off. threshold: cosine in [-1, 1] from which a text counts as meaning nearly
    the same.
    """

    def __init__(self, encoder: TextEncoder, exams: ExamIndex, threshold: float) -> None:
        self.encoder, self.exams, self.threshold = encoder, exams, threshold

    def nearest(self, texts: Sequence[str]) -> list[tuple[float, ExamProblem]]:
        """Return for each text the cosine of its nearest exam question, and that problem.

        Memory grows with the exam and the texts given, so give them in batches.
        """
        if not texts:
            return []
        middle, questions = self._questions
        near = _unit(self.encoder.encode(texts) - middle) @ questions.T  # [text][problem]
        best = near.argmax(axis=1)
        return [(float(near[row, place]), self.exams.problems[place]) for row, place in enumerate(best)]

    def of_lessons(self, lessons: Iterable[Lesson]) -> Iterator[Near]:
        """Yield for each lesson, in order, which exam problem its nearest text is nearest to. Streams, in batches."""
        source = iter(lessons)
        while batch := list(islice(source, BATCH)):
            texts = [[*texts_of(lesson)] for lesson in batch]
            found = iter(self.nearest([text for of_lesson in texts for _, text in of_lesson]))
            for of_lesson in texts:
                every = [Near(*next(found), where, text) for where, text in of_lesson]
                yield max(every, key=lambda near: near.cosine)

    @cached_property
    def _questions(self) -> tuple[Any, Any]:
        vectors = self.encoder.encode([problem.question for _, problem in self.exams.problems])
        middle = vectors.mean(axis=0) * (len(vectors) >= ENOUGH)
        return middle, _unit(vectors - middle)


def _unit(rows: Any) -> Any:
    import numpy as np

    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
