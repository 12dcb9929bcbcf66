"""ARTE by hand: what a draft is worth to the student, which pairs the teacher learns; then through the loop."""

import asyncio
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

import msgspec
import pytest

from lessons.errors import InputError, RoundError
from lessons.graders.base import Grade
from lessons.ids import seed_of
from lessons.jsonl import read_jsonl
from lessons.records import Attempt, Lesson, Message, Problem, Provenance
from lessons.skills import SkillCatalog, SkillProfile
from loops.filters.base import Context
from loops.methods import arte
from loops.methods.arte import Arte
from loops.preferring import Draft, behind, extremes, means, preference_set
from loops.recipe import resolve
from loops.round import Round
from loops.run import Run
from students.base import Answer, Generation, Training
from teachers.base import Reply, Sampling, TrainableTeacher
from teachers.calls import Caller
from teachers.ledger import Ledger, read_calls
from teachers.local import LocalTeacher
from teachers.prompts import new_problems, rationale, styled_rationale
from teachers.prompts.reading import sections
from teachers.scripted import ScriptedTeacher

PROBLEMS = [Problem(question=f"adding {n}", answer=str(n), skills=("adding",), solution=f"so {n}") for n in range(8)]


class Grading:
    def read(self, text: str) -> str | None:
        return text or None

    def same(self, one: str, other: str) -> bool:
        return one == other

    def grade(self, problem: Problem, text: str) -> Grade:
        return Grade(float(text == problem.answer), text)


class PlainTask:
    instruction = "Think."
    grader = Grading()

    def reference(self, problem: Problem) -> str:
        return f"so {problem.answer}"


class Shown:
    """A student that gets problem n right where the example before it says that it is worth more than n."""

    digest = "shown"

    def answer(self, prompts: Any, generation: Generation, *, samples: int = 1, **_: Any) -> list[list[Answer]]:
        assert generation.temperature == 0.0
        found: list[list[Answer]] = []
        for chat in prompts:
            example = next((m["content"] for m in chat if m["role"] == "assistant"), "")
            worth = int((re.findall(r"worth (\d+)", example) or ["0"])[0])
            number = int(chat[-1]["content"].split()[-1])
            found.append([Answer(str(number) if number < worth else "?")])
        return found


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The training of the teacher replaced: what it was given is noted, and another scripted teacher comes back."""
    noted: dict[str, Any] = {}
    aligned = ScriptedTeacher(replies=lambda m, s: drafting(m, s, "aligned "), name="aligned")

    def align(round_: Round, teacher: Any, pairs: Sequence[Lesson], training: Training) -> ScriptedTeacher:
        noted.update(pairs=list(pairs), training=training)
        return aligned

    monkeypatch.setattr(arte, "aligned", align)
    monkeypatch.setattr(arte, "trainable", lambda round_: round_.teacher)
    return noted | {"teacher": aligned, "noted": noted}


def drafting(messages: Sequence[Message], sampling: Sampling, prefix: str = "") -> str:
    """Questions numbered by their request; a rationale worth its style's number plus its question's."""
    system, asked = messages[0]["content"], sections(messages[-1]["content"])
    if system == new_problems.SYSTEM:
        number = seed_of(asked["examples"], sampling.seed) % 10_000
        return "\n".join(
            f"Question: {prefix}new {asked['count']} {number + place}" for place in range(int(asked["count"]))
        )
    if system == styled_rationale.SYSTEM:
        style = {"plain": 0, "odd": 4}[asked["style"]]
        return f"It is worth {style + int(asked['question'].split()[-1]) % 3}.\nAnswer: 1"
    assert system == rationale.SYSTEM
    return f"{prefix}steps.\nAnswer: 1"


def teach(
    method: Arte, reply: Callable[[Sequence[Message], Sampling], str | Reply], ledgers: Path, **more: Any
) -> tuple[list[Lesson], Round, ScriptedTeacher]:
    teacher = ScriptedTeacher(replies=reply)
    attempts = [Attempt(problem=p, student="s", text="x", score=0.0, missing=p.skills) for p in PROBLEMS]

    async def main() -> tuple[list[Lesson], Round]:
        with Ledger.open(ledgers / "calls.sqlite") as ledger:
            round_ = Round(
                index=1,
                task=cast(Any, PlainTask()),
                caller=Caller(teacher, ledger),
                student=more.pop("student", cast(Any, Shown())),
                method="arte",
                problems=PROBLEMS,
                pool=PROBLEMS,
                attempts=attempts,
                catalog=SkillCatalog.of_names(("adding",)),
                profile=SkillProfile.of(attempts),
                context=Context(grader=cast(Any, Grading())),
                rng=Random(0),
                **more,
            )
            return await method.teach(round_), round_

    lessons, round_ = asyncio.run(main())
    return lessons, round_, teacher


SMALL: dict[str, Any] = {"drafts": 8, "several": 4, "styles": ("plain", "odd"), "preference": 8, "question_pairs": 6}


def test_a_draft_stands_as_the_one_example_before_the_problem() -> None:
    class Bare:
        def prompt(self, problem: Problem) -> tuple[Message, ...]:
            return (Message(role="system", content="Think."), Message(role="user", content=problem.question))

    chat = behind(cast(Any, Bare()), [("q", "r")], PROBLEMS[3])
    assert [(m["role"], m["content"]) for m in chat] == [
        ("system", "Think."),
        ("user", "q"),
        ("assistant", "r"),
        ("user", "adding 3"),
    ]


def test_drafts_are_scored_by_the_share_of_the_preference_set(tmp_path: Path) -> None:
    lessons, _, teacher = teach(Arte(align=False, **SMALL), drafting, tmp_path, folder=tmp_path / "method")
    drafts = list(read_jsonl(tmp_path / "method/drafts.jsonl", Draft))
    assert len(drafts) == 16  # eight questions in two styles
    for draft in drafts:
        worth = int(re.findall(r"worth (\d)", draft.rationale)[0])
        assert draft.score == worth / 8  # of eight problems, those below its worth
    # Without alignment each question comes with the rationale that the student does best with.
    assert len(lessons) == 8
    assert all("worth" in lesson.completion for lesson in lessons)
    best = {question: draft.rationale for (_, question), draft in extremes(drafts, best=True).items()}
    assert {lesson.problem.question: lesson.completion for lesson in lessons} == best
    assert {draft.style for draft in extremes(drafts, best=True).values()} == {"odd"}
    asked = [r for r in teacher.requests if r.messages[0]["content"] == new_problems.SYSTEM]
    assert [r.sampling.temperature for r in asked] == [1.0, 1.0]
    assert asked[0].messages == asked[1].messages  # three seed questions, the same for every draft of a task
    assert asked[0].messages[-1]["content"].count("\nso ") == 3
    assert all(len(lesson.provenance.calls) == 2 for lesson in lessons)


def test_the_teacher_learns_pairs_of_questions_and_of_rationales(tmp_path: Path, after: dict[str, Any]) -> None:
    lessons, round_, teacher = teach(Arte(**SMALL), drafting, tmp_path, folder=tmp_path / "method")
    drafts = list(read_jsonl(tmp_path / "method/drafts.jsonl", Draft))
    worth = sorted(means(drafts).items(), key=lambda one: (-one[1], one[0][1]))
    high, low = ({question for (_, question), _ in part} for part in (worth[:2], worth[-2:]))  # a quarter of eight
    pairs: list[Lesson] = after["noted"]["pairs"]
    of_questions = [pair for pair in pairs if pair.completion.startswith("Question: ")]
    assert len(of_questions) == round_.counts["pairs of questions for the teacher"] == 6
    assert {pair.completion.removeprefix("Question: ") for pair in of_questions} <= high
    assert {(pair.rejected or "").removeprefix("Question: ") for pair in of_questions} <= low
    assert of_questions[0].prompt[0]["content"] == new_problems.SYSTEM
    assert "<count>\n1\n</count>" in of_questions[0].prompt[1]["content"]
    of_rationales = [pair for pair in pairs if pair not in of_questions]
    assert len(of_rationales) == round_.counts["pairs of rationales for the teacher"] == 8
    assert all(
        pair.prompt == rationale.RATIONALE.messages({"question": pair.problem.question}) for pair in of_rationales
    )
    assert all("worth" in pair.completion and pair.completion > (pair.rejected or "") for pair in of_rationales)
    training: Training = after["noted"]["training"]
    assert (training.learning_rate, training.batch_size, training.epochs) == (1e-7, 16, 1.0)
    assert (training.warmup, training.schedule, training.rank) == (0.1, "cosine", 16)
    # What is taught is the aligned teacher's, asked without chance, on the same ledger.
    requests = after["teacher"].requests
    assert {r.sampling.temperature for r in requests} == {0.0}
    assert all(lesson.completion == "aligned steps.\nAnswer: 1" for lesson in lessons)
    written = {str(r.messages) for r in requests if r.messages[0]["content"] == new_problems.SYSTEM}
    assert len(lessons) == len(written) > 4  # eight requests, each with its own three seed questions drawn
    assert all(lesson.problem.question.startswith("aligned new 1") for lesson in lessons)
    assert round_.caller.totals.asked == len(teacher.requests) + len(requests)
    calls = {call.id for call in read_calls(tmp_path / "calls.sqlite")}
    assert all(set(lesson.provenance.calls) <= calls for lesson in lessons)


def test_rationale_pairs_are_capped(tmp_path: Path, after: dict[str, Any]) -> None:
    _, round_, _ = teach(Arte(**SMALL, rationale_pairs=3), drafting, tmp_path, folder=tmp_path / "method")
    assert round_.counts["pairs of rationales for the teacher"] == 3


def test_where_no_draft_is_better_than_another_the_round_says_so(tmp_path: Path, after: dict[str, Any]) -> None:
    def alike(messages: Sequence[Message], sampling: Sampling) -> str:
        return re.sub(r"worth \d+", "worth 5", drafting(messages, sampling))

    with pytest.raises(RoundError, match="does as well behind each of 16 drafts"):
        teach(Arte(**SMALL), alike, tmp_path, folder=tmp_path / "method")


def test_a_teacher_that_cannot_be_trained_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    asked = 0

    def reply(messages: Sequence[Message], sampling: Sampling) -> str:
        nonlocal asked
        asked += 1
        return drafting(messages, sampling)

    with pytest.raises(
        InputError, match="scripted cannot be trained here: use teacher.kind local.*method.align to false"
    ):
        teach(Arte(**SMALL), reply, tmp_path)
    assert asked == 0


def test_of_many_problems_those_that_tell_students_apart_are_the_preference_set(tmp_path: Path) -> None:
    class ByShots:
        """Gets 2 right from one example on, 5 from two on, all others never or always."""

        def __init__(self, digest: str) -> None:
            self.digest = digest

        def answer(self, prompts: Any, generation: Generation, **_: Any) -> list[list[Answer]]:
            def one(chat: Sequence[Message]) -> str:
                shots = sum(m["role"] == "assistant" for m in chat)
                number = int(chat[-1]["content"].split()[-1])
                right = {2: shots >= 1, 5: shots >= 2}.get(number, number > 5)
                assert f"so {number}" not in [m["content"] for m in chat]  # not its own solution
                return str(number) if right else "?"

            return [[Answer(one(chat))] for chat in prompts]

    async def main() -> list[Problem]:
        attempts: list[Attempt] = []
        with Ledger.open(tmp_path / "calls.sqlite") as ledger:
            round_ = Round(
                index=1,
                task=cast(Any, PlainTask()),
                caller=Caller(ScriptedTeacher(replies=[]), ledger),
                student=cast(Any, ByShots("now")),
                base=cast(Any, ByShots("base")),
                method="arte",
                problems=PROBLEMS,
                pool=PROBLEMS,
                attempts=attempts,
                catalog=SkillCatalog.of_names(("adding",)),
                profile=SkillProfile.of(attempts),
                context=Context(grader=cast(Any, Grading())),
                rng=Random(0),
            )
            chosen = await preference_set(round_, "adding", PROBLEMS, 2, validation=100, models=())
            every = await preference_set(round_, "adding", PROBLEMS, 8, validation=100, models=())
            assert every == PROBLEMS
            return chosen

    assert [problem.question for problem in asyncio.run(main())] == ["adding 2", "adding 5"]


@pytest.mark.parametrize("knobs", [{"drafts": 0}, {"several": 21}, {"extreme": 0.6}, {"styles": ("one",)}, {"rank": 0}])
def test_wrong_knobs(knobs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        Arte(**knobs)


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of random weights, as a folder."""
    from students.tiny import tiny
    from students.whole import save_whole

    folder = tmp_path_factory.mktemp("teacher") / "model"
    save_whole(tiny(), folder)
    return folder


COACH = '''
from dataclasses import dataclass
from pathlib import Path

from teachers.rule_tutor import RuleTutor


@dataclass(frozen=True, kw_only=True)
class Coach(RuleTutor):
    """Answers by rule, and has weights that can be trained."""

    model: str
    adapter: str = ""

    @property
    def name(self):
        return "coach " + Path(self.adapter).name

    def with_adapter(self, folder):
        return Coach(model=self.model, adapter=str(folder))
'''


STYLES = ("Be plain.", "Say it on one line.")
RECIPE: dict[str, Any] = {
    "task": {"id": "skills_demo", "train": 3, "held_out": 2, "skills": ["carrying"]},
    "student": {"model": "tiny", "answer": {"max_tokens": 4}, "adapter": {"rank": 4}},
    "method": {"id": "arte", "drafts": 2, "several": 2, "seeds": 1, "styles": STYLES, "preference": 3, "rank": 4,
               "learning_rate": 1e-3, "max_length": 1024},
    "filters": [],
    "select": "uniform",
    "train": {"epochs": 1},
    "diagnose": {"by": "needed"},
    "gate": {"rule": "always"},
    "rounds": 1,
}  # fmt: skip


@pytest.mark.slow
def test_arte_runs_through_the_loop_and_trains_the_teachers_weights(
    tmp_path: Path, teacher_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def by_length(round_: Round, drafts: Sequence[Draft], *_: Any) -> list[Draft]:
        # An untaught student gets nothing right behind any draft; the scores themselves are tested by hand above.
        return [msgspec.structs.replace(draft, score=len(draft.rationale) / 1000) for draft in drafts]

    monkeypatch.setattr(arte, "shares", by_length)
    (tmp_path / "coach_for_arte.py").write_text(COACH)
    teacher = {"kind": "coach_for_arte:Coach", "model": str(teacher_folder)}
    Run.start(resolve({**RECIPE, "teacher": teacher}, folder=tmp_path), tmp_path / "r").to_the_end()
    folder = tmp_path / "r/rounds/01"
    (adapter,) = (folder / "method/teacher").glob("adapter-*")
    pairs = list(read_jsonl(folder / "method/pairs.jsonl", Lesson))
    assert len(pairs) >= 2
    assert all(pair.rejected for pair in pairs)
    lessons = list(read_jsonl(folder / "lessons.jsonl", Lesson))
    assert lessons
    by_id = {call.id: call for call in read_calls(tmp_path / "r/calls.sqlite")}
    assert {by_id[call].reply.model for lesson in lessons for call in lesson.provenance.calls} == {
        f"coach {adapter.name}"
    }
    weights = LocalTeacher(model=str(teacher_folder), adapter=str(adapter), precision="float32", device="cpu")
    assert asyncio.run(weights.ask([Message(role="user", content="hello")], Sampling(max_tokens=3))).usage.completion
    weights.close()


def test_an_adapter_changes_a_local_teachers_name_and_its_words(teacher_folder: Path, tmp_path: Path) -> None:
    from students.open import open_student

    plain = LocalTeacher(model=str(teacher_folder), precision="float32", device="cpu", threads=1)
    assert isinstance(plain, TrainableTeacher)
    chat = (Message(role="user", content="say it"),)
    lesson = Lesson(
        prompt=chat, completion="so", problem=Problem(question="q"), provenance=Provenance(method="test", round=1)
    )
    training = Training(epochs=60, learning_rate=2e-2, rank=8, alpha=16, precision="float32", threads=1)
    _, learned = open_student(str(teacher_folder)).learn([lesson], tmp_path, training, seed=0)
    adapted = plain.with_adapter(tmp_path / learned.adapter)
    assert adapted.name != plain.name
    assert adapted.name == plain.with_adapter(tmp_path / learned.adapter).name
    greedy = Sampling(max_tokens=8, temperature=0.0)

    async def both() -> tuple[str, str]:
        return (await plain.ask(chat, greedy)).text, (await adapted.ask(chat, greedy)).text

    was, now = asyncio.run(both())
    assert now == "so"
    assert was != now
    plain.close()
    adapted.close()
    with pytest.raises(InputError, match="cannot take another one"):
        adapted.with_adapter(tmp_path)
    with pytest.raises(InputError, match="is no LoRA adapter"):
        _ = plain.with_adapter(tmp_path).name
