"""LEAP by hand: whose steps are relabelled, what is trained on, what must not be given away; then through the loop."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import ParseError
from lessons.jsonl import read_jsonl
from lessons.records import Attempt, Lesson, Message, Problem, Span
from lessons.skills import SkillCatalog, SkillProfile
from lessons.steps import said
from loops.environments.base import shown
from loops.environments.house import HouseEnvironment
from loops.episodes import chat_before, play, turns_of
from loops.filters.base import Context
from loops.iterations import equal_parts, kept
from loops.methods.leap import Leap
from loops.privileged import betrayed, given_away, share_of, told_early
from loops.recipe import resolve
from loops.round import Round
from loops.run import Run
from loops.tasks.house import INSTRUCTION, HouseTask
from loops.tasks.skills_demo import SkillsDemo
from students.base import Answer, Generation, Student
from teachers.base import Reply, Sampling
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.prompts.relabel import for_actions, for_lines
from teachers.rule_tutor import RuleTutor
from teachers.scripted import ScriptedTeacher
from tests.loops.test_house import HOUSE, WAY

ENVIRONMENT = HouseEnvironment(steps=3)
EPISODE = Problem(
    question=shown(ENVIRONMENT.reset(Problem(question="q", data={"house": HOUSE.plain()})).seen),
    answer="; ".join(WAY),
    skills=("find the key",),
    data={"house": HOUSE.plain()},
)
STEPS = ["I look around.\nAction: go attic", "Action: dance", "Back.\nAction: go hall"]
FAILED = Attempt(
    problem=EPISODE,
    student="s",
    text=STEPS[2],
    turns=tuple(
        Message(role=role, content=text)
        for role, text in (
            ("assistant", STEPS[0]),
            ("user", "Goal: study. You are in the attic. Doors: hall.\nActions: go hall"),
            ("assistant", STEPS[1]),
            ("user", "Nothing happens. Goal: study. You are in the attic. Doors: hall.\nActions: go hall"),
        )
    ),
    score=0.0,
)


class Talking:
    """A student that says the next line of its script at each of its turns, whatever it is asked."""

    digest = name = "talking"

    def __init__(self, *lines: str) -> None:
        self.lines, self.asked = lines, list[Sequence[Message]]()

    def answer(self, prompts: Any, generation: Generation, *, samples: int = 1, **_: Any) -> list[list[Answer]]:
        self.asked += prompts
        turns = [sum(m["role"] == "assistant" for m in chat) for chat in prompts]
        return [[Answer(self.lines[turn % len(self.lines)])] * samples for turn in turns]


def teach(
    method: Leap,
    reply: Callable[[Sequence[Message], Sampling], str | Reply],
    attempts: Sequence[Attempt],
    ledgers: Path,
    *,
    task: Any = None,
    index: int = 2,
    **more: Any,
) -> tuple[list[Lesson], Round, ScriptedTeacher]:
    teacher = ScriptedTeacher(replies=reply)
    given = task or HouseTask(steps=3)

    async def main() -> tuple[list[Lesson], Round]:
        with Ledger.open(ledgers / "calls.sqlite") as ledger:
            round_ = Round(
                index=index,
                task=given,
                caller=Caller(teacher, ledger),
                student=cast(Student, more.pop("student", None)),
                method="leap",
                problems=[attempt.problem for attempt in attempts],
                pool=[],
                attempts=attempts,
                catalog=SkillCatalog.of_names(("find the key",)),
                profile=SkillProfile.of(attempts),
                context=Context(grader=given.grader),
                rng=Random(0),
                **more,
            )
            return await method.teach(round_), round_

    lessons, round_ = asyncio.run(main())
    return lessons, round_, teacher


def relabelled(*steps: tuple[str, str]) -> str:
    return json.dumps({"mistakes": "m", "steps": [{"reason": why, "action": what} for why, what in steps]})


GOOD = relabelled(("I need a key.", "go kitchen"), ("There is nothing here.", "go hall"), ("I go back.", "go hall"))


def test_a_student_plays_an_episode_turn_by_turn() -> None:
    student = Talking(*STEPS)
    ((played,),) = play(ENVIRONMENT, cast(Any, student), [EPISODE], Generation(), instruction="Do.")
    assert (played.text, played.turns, played.score) == (FAILED.text, FAILED.turns, 0.0)
    assert (played.answer, played.note) == ("go hall", "not done in 3 steps")
    assert [m["role"] for m in student.asked[2]] == ["system", "user", "assistant", "user", "assistant", "user"]
    whole = Talking(*(said("so", action) for action in WAY))
    ((done,),) = play(HouseEnvironment(steps=9), cast(Any, whole), [EPISODE], Generation())
    assert (done.score, done.right, len(done.turns), done.note) == (1.0, True, 10, "")
    ((silent,),) = play(ENVIRONMENT, cast(Any, Talking("")), [EPISODE], Generation())
    assert (silent.answer, silent.note, silent.text) == (None, "no final answer", "")


def test_episodes_of_a_step_are_answered_together_and_samples_are_apart() -> None:
    problems = HouseTask(train=3, held_out=1).split(0).train
    student = Talking("Action: sing")
    batches: list[int] = []
    answer = student.answer
    student.answer = lambda prompts, *a, **k: batches.append(len(prompts)) or answer(prompts, *a, **k)  # type: ignore[method-assign]
    played = play(HouseEnvironment(steps=4), cast(Any, student), problems, Generation(), samples=2)
    assert batches == [6] * 8
    assert [[attempt.sample for attempt in row] for row in played] == [[0, 1]] * 6


def test_a_recorded_episode_is_gone_through_again_and_each_step_has_the_chat_of_the_exam() -> None:
    turns = turns_of(ENVIRONMENT, FAILED)
    assert [turn.action for turn in turns] == ["go attic", None, "go hall"]
    assert [turn.reason for turn in turns] == ["I look around.", "", "Back."]
    assert turns[0].seen.actions == ("go kitchen", "go attic")
    chat = chat_before("Do.", EPISODE, turns, 2)
    assert chat == (
        {"role": "system", "content": "Do."},
        {"role": "user", "content": EPISODE.question},
        *FAILED.turns,
    )


def test_every_step_of_a_failure_is_a_lesson_after_the_students_own_steps(tmp_path: Path) -> None:
    right = Attempt(problem=EPISODE, student="s", text="Action: go study", score=1.0, sample=1)
    lessons, round_, teacher = teach(Leap(), lambda m, s: GOOD, [FAILED, right], tmp_path)
    assert len(teacher.requests) == 1  # of the failure alone
    assert [lesson.completion for lesson in lessons] == [
        "I need a key.\nAction: go kitchen",
        "There is nothing here.\nAction: go hall",
        "I go back.\nAction: go hall",
    ]
    # The second step is asked where the student went, not where it should have gone.
    assert [m["content"] for m in lessons[1].prompt] == [
        INSTRUCTION,
        EPISODE.question,
        STEPS[0],
        "Goal: study. You are in the attic. Doors: hall.\nActions: go hall",
    ]
    assert lessons[2].prompt[-2]["content"] == "Action: dance"
    assert {lesson.provenance.seed for lesson in lessons} == {EPISODE.id}
    assert {lesson.provenance.attempt for lesson in lessons} == {FAILED.id}
    assert lessons[0].problem.parent == EPISODE.id
    assert round_.dropped == []
    asked = teacher.requests[0].messages[-1]["content"]
    assert "Key: in the box, kitchen." in asked
    assert "Actions: go kitchen, go attic\nReason: I look around.\nAction: go attic" in asked
    assert "Action: Action: dance" in asked  # what named no candidate is shown as it was said


@pytest.mark.parametrize(
    ("level", "last"), [(0, ""), (25, "Rooms"), (50, "Locked"), (75, "Key"), (100, "Shortest way")]
)
def test_the_level_is_the_share_of_the_facts_that_the_teacher_sees(level: Any, last: str, tmp_path: Path) -> None:
    _, _, teacher = teach(Leap(privileged=level), lambda m, s: GOOD, [FAILED], tmp_path)
    asked = teacher.requests[0].messages[-1]["content"]
    told = asked.partition("<privileged>\n")[2].partition("\n</privileged>")[0]
    assert (told.splitlines()[-1].partition(":")[0] if told else "") == last
    assert ("<privileged>" in asked) is (level > 0)


def test_a_reason_that_gives_a_hidden_thing_away_is_dropped(tmp_path: Path) -> None:
    reply = relabelled(
        ("The key is in the box of the kitchen.", "go kitchen"),  # where it lies was not seen
        ("A jar may stand elsewhere.", "go hall"),  # a guess
        ("The privileged facts say so.", "go hall"),
    )
    lessons, round_, _ = teach(Leap(), lambda m, s: reply, [FAILED], tmp_path)
    assert [lesson.completion.splitlines()[0] for lesson in lessons] == ["A jar may stand elsewhere."]
    assert [(d.check.filter, d.check.reason, d.check.detail) for d in round_.dropped] == [
        ("leak", "gives a hidden thing away", "box"),
        ("leak", "gives a hidden thing away", "privileged"),
    ]


@pytest.mark.parametrize(
    ("text", "gives"),
    [
        ("The key is in the jar.", "key jar"),
        ("The key is near. The jar is closed.", ""),  # two sentences
        ("The key might be in the jar.", ""),
        ("Keys and jars", ""),
        ("Go to the ATTIC!", "attic"),
    ],
)
def test_what_gives_a_secret_away(text: str, gives: str) -> None:
    assert given_away(text, (("key", "jar"), ("attic",))) == gives


def test_an_unreadable_reply_is_asked_for_again_three_times(tmp_path: Path) -> None:
    count = 0

    def reply(messages: Sequence[Message], sampling: Sampling) -> str:
        nonlocal count
        count += 1
        if count < 5:  # a try and its repair turn, twice
            return relabelled(("w", "go kitchen"))  # of three steps
        return GOOD

    lessons, round_, teacher = teach(Leap(), reply, [FAILED], tmp_path)
    assert len(lessons) == 3
    assert [lost.reason for lost in round_.lost] == ["invalid", "invalid"]
    assert "has 3 steps, and the reply has 1" in round_.lost[0].detail
    assert [r.sampling.temperature for r in teacher.requests] == [0.0, 0.0, 0.7, 0.7, 0.7]
    count = -100
    lessons, round_, teacher = teach(Leap(tries=2), reply, [FAILED], tmp_path / "..")
    assert lessons == []
    assert round_.counts["attempts that nobody relabelled"] == 1
    assert len(teacher.requests) == 4


def test_an_action_that_could_not_be_done_is_refused() -> None:
    prompt = for_actions([("go hall", "open box"), ("go hall",)])
    read = prompt.parse(relabelled(("a", "Open BOX."), ("b", "go hall")))
    assert [step.action for step in read.steps] == ["open box", "go hall"]
    with pytest.raises(ParseError, match="step 2: 'open box' is none of: go hall"):
        prompt.parse(relabelled(("a", "open box"), ("b", "open box")))
    assert prompt.example is not None
    assert len(prompt.parse(prompt.example({}, 0)).steps) == 2


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=5))
def test_any_steps_are_read_or_refused(steps: list[tuple[str, str]]) -> None:
    for prompt in (for_actions([("go hall",)] * 3), for_lines(["a", "b", "c"])):
        try:
            assert len(prompt.parse(relabelled(*steps)).steps) == 3
        except ParseError as error:
            assert str(error)


def test_pairs_are_the_steps_that_were_changed(tmp_path: Path) -> None:
    lessons, round_, _ = teach(Leap(pairs=True, first="student"), lambda m, s: GOOD, [FAILED], tmp_path)
    assert [(lesson.completion.splitlines()[-1], lesson.rejected) for lesson in lessons] == [
        ("Action: go kitchen", STEPS[0]),
        ("Action: go hall", "Action: dance"),
    ]
    assert round_.counts["steps without a pair: as they should be, or empty"] == 1  # `go hall` was right
    with pytest.raises(ValueError, match="set first to student"):
        Leap(pairs=True)


def test_round_1_adds_reasons_to_the_experts_way(tmp_path: Path) -> None:
    reply = relabelled(*[("why", "go attic")] + [("why", action) for action in WAY[1:]])
    lessons, _, teacher = teach(Leap(), lambda m, s: reply, [FAILED], tmp_path, index=1, task=HouseTask(steps=9))
    assert [lesson.completion for lesson in lessons] == [f"why\nAction: {action}" for action in WAY]
    assert "Action: unlock study" in teacher.requests[0].messages[-1]["content"]
    # What was said before is what the student is taught to say there.
    assert lessons[2].prompt[2]["content"] == lessons[0].completion
    assert lessons[2].prompt[4]["content"] == lessons[1].completion
    telling = relabelled(("The key is in the box.", "go kitchen"), *[("why", action) for action in WAY[1:]])
    lessons, round_, _ = teach(
        Leap(), lambda m, s: telling, [FAILED], tmp_path / "..", index=1, task=HouseTask(steps=9)
    )
    assert len(round_.dropped) == 1
    assert lessons[0].prompt[2]["content"] == "Action: go kitchen"  # the reason that gives the key away is nowhere
    failures, _, _ = teach(Leap(first="student"), lambda m, s: GOOD, [FAILED], tmp_path, index=1)
    assert len(failures) == 3


def test_the_student_can_stand_in_the_teachers_place(tmp_path: Path) -> None:
    student = Talking(GOOD)
    lessons, round_, teacher = teach(Leap(by="student"), lambda m, s: "", [FAILED], tmp_path, student=student)
    assert teacher.requests == []
    assert len(lessons) == 3
    assert lessons[0].provenance.calls == ()
    lessons, round_, _ = teach(
        Leap(by="student"), lambda m, s: "", [FAILED], tmp_path, student=Talking("I do not know.")
    )
    assert [lost.prompt for lost in round_.lost] == ["relabel_actions, of the student"] * 3
    assert lessons == []


def test_rounds_are_mixed_in_equal_parts(tmp_path: Path) -> None:
    def of(count: int, index: int) -> tuple[list[Lesson], Round]:
        before = tmp_path / f"{index - 1}" if index > 1 else None
        _, round_, _ = teach(
            Leap(mix=False, first="student"), lambda m, s: GOOD, [FAILED], tmp_path,
            index=index, folder=tmp_path / f"{index}", before=before, seed=index,
        )  # fmt: skip
        made = [round_.lesson(EPISODE, f"round {index}, lesson {number}") for number in range(count)]
        return equal_parts(round_, kept(round_, made)), round_

    first, _ = of(5, 1)
    assert len(first) == 5
    second, round_ = of(3, 2)
    assert [lesson.completion[:7] for lesson in second] == ["round 2"] * 3 + ["round 1"] * 3
    assert round_.counts["left out so that each round has as many"] == 2
    third, _ = of(4, 3)
    assert [lesson.completion[:7] for lesson in third] == ["round 3"] * 3 + ["round 2"] * 3 + ["round 1"] * 3
    assert of(4, 3)[0] == third  # the same again
    nothing, _ = of(0, 4)
    assert len(nothing) == 9  # a round without lessons does not empty the others


TEXT = Problem(
    question="One book costs 7 dollars. Ben buys 2 books and pays with 40 dollars. How many dollars come back?",
    answer="26",
    skills=("change",),
    solution="2*7=14. 40-14=26.\nAnswer: 26",
)
WRONG = Attempt(problem=TEXT, student="s", text="2*7=14.\n\n40-14=36.\nAnswer: 36", score=0.0)


def test_lines_before_the_first_wrong_one_stay_and_carry_no_loss(tmp_path: Path) -> None:
    reply = relabelled(("", "2*7=14."), ("40-14 is 26", "40-14=26."), ("", "Answer: 26"))
    (lesson,), _, teacher = teach(Leap(), lambda m, s: reply, [WRONG], tmp_path, task=SkillsDemo(), index=1)
    assert lesson.completion == "2*7=14.\n40-14=26.\nAnswer: 26"
    assert lesson.spans == (Span(start=0, end=8, weight=0.0),)
    assert lesson.completion[:8] == "2*7=14.\n"
    assert lesson.problem == TEXT
    asked = teacher.requests[0].messages[-1]["content"]
    assert "Step 1: 2*7=14.\nStep 2: 40-14=36.\nStep 3: Answer: 36" in asked
    assert "Final answer: 26" in asked
    assert all("26" not in m["content"] for m in lesson.prompt)
    (pair,), _, _ = teach(Leap(pairs=True, first="student"), lambda m, s: reply, [WRONG], tmp_path, task=SkillsDemo())
    assert pair.rejected == WRONG.text


def test_a_solution_that_nobody_changes_or_that_tells_too_early_is_no_lesson(tmp_path: Path) -> None:
    same = relabelled(("", "2*7=14."), ("", "40-14=36."), ("", "Answer: 36"))
    lessons, round_, _ = teach(Leap(), lambda m, s: same, [WRONG], tmp_path, task=SkillsDemo())
    assert (lessons, round_.counts["solutions left as they were"]) == ([], 1)
    early = relabelled(("", "We need to get 26."), ("", "40-14=26."), ("", "Answer: 26"))
    lessons, round_, _ = teach(Leap(), lambda m, s: early, [WRONG], tmp_path / "..", task=SkillsDemo())
    assert lessons == []
    assert round_.dropped[0].check.detail == "26"


def test_when_the_answer_is_told_too_early() -> None:
    assert told_early(["We want 26", "Answer: 26"], 0, TEXT) == "26"
    assert told_early(["40-14=26", "Answer: 26"], 0, TEXT) == ""  # it is worked out
    assert told_early(["We want 26", "Answer: 26"], 1, TEXT) == ""  # the student said so itself
    assert told_early(["We want 126 or 2.6", "Answer: 26"], 0, TEXT) == ""
    assert told_early(["Answer: 26"], 0, TEXT) == ""
    assert betrayed("As the given answer says, it is 26.") == "given answer"
    assert share_of(["a", "b", "c"], 50) == ("a", "b")


def test_the_demos_teacher_relabels_by_rule() -> None:
    turns = turns_of(ENVIRONMENT, FAILED)
    method, attempts = Leap(), [FAILED]

    async def asked(privileged: str) -> list[tuple[str, str]]:
        prompt = for_actions([turn.seen.actions for turn in turns])
        fields = {**case.fields, "privileged": privileged}
        reply = await RuleTutor().ask(prompt.messages(fields), prompt.sampling)
        return [(step.reason, step.action) for step in prompt.parse(reply.text).steps]

    class Fields:
        attempts = [FAILED]
        index = 2
        task = HouseTask(steps=3)

    (case,) = method.acted(cast(Any, Fields), ENVIRONMENT)
    known = asyncio.run(asked("\n".join(ENVIRONMENT.facts(EPISODE))))
    assert [action for _, action in known] == ["go kitchen", "go hall", "go hall"]
    searched = asyncio.run(asked(""))
    assert [action for _, action in searched] == ["go kitchen", "go hall", "go hall"]
    assert attempts == [FAILED]
    secrets = ENVIRONMENT.hidden(EPISODE, ())
    assert not any(given_away(reason, secrets) for reason, _ in known + searched)


RECIPE: dict[str, Any] = {
    "task": {"id": "house", "rooms": 3, "containers": 1, "steps": 4, "train": 6, "held_out": 4, "gate": 2},
    "student": {"model": "tiny", "answer": {"max_tokens": 12, "temperature": 1.0}, "adapter": {"rank": 4}},
    "teacher": {"kind": "rule_tutor"},
    "method": "leap",
    "filters": ["format", "duplicate", "verified"],
    "select": {"id": "uniform"},
    "train": {"epochs": 1, "start": "last"},
    "diagnose": {"by": "needed"},
    "gate": {"rule": "always"},
    "rounds": 2,
}


@pytest.mark.slow
def test_leap_runs_through_the_loop_and_again_makes_the_same(tmp_path: Path) -> None:
    for name in ("one", "two"):
        Run.start(resolve(RECIPE), tmp_path / name).to_the_end()
    first, second = (list(read_jsonl(tmp_path / f"one/rounds/0{i}/lessons.jsonl", Lesson)) for i in (1, 2))
    assert {lesson.provenance.round for lesson in first} == {1}
    assert {lesson.provenance.round for lesson in second} == {1, 2}
    assert all("Action: " in lesson.completion for lesson in first)
    held_out = list(read_jsonl(tmp_path / "one/rounds/02/exam.jsonl", Attempt))
    assert len(held_out) == 8
    assert all(len(attempt.turns) == 6 or attempt.score == 1.0 for attempt in held_out)
    for index in (1, 2):
        name = f"rounds/0{index}/lessons.jsonl"
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_leap_runs_on_a_task_in_writing(tmp_path: Path) -> None:
    task = {"id": "skills_demo", "train": 3, "held_out": 2, "skills": ["carrying", "clock"]}
    Run.start(resolve({**RECIPE, "task": task, "rounds": 1}), tmp_path / "r").to_the_end()
    lessons = list(read_jsonl(tmp_path / "r/rounds/01/lessons.jsonl", Lesson))
    assert len(lessons) >= 4
    assert all("Answer: " in lesson.completion for lesson in lessons)


@pytest.mark.slow
def test_the_tiny_student_learns_to_act_from_the_experts_steps(tmp_path: Path) -> None:
    from students.base import Training
    from students.tiny import tiny

    task = HouseTask(kinds=("find the key",), rooms=2, containers=1, steps=4, train=1, held_out=1)
    problems = task.split(0).train
    attempts = [Attempt(problem=problem, student="s", text="x", score=0.0) for problem in problems]

    def expert(messages: Sequence[Message], sampling: Sampling) -> Any:
        return RuleTutor().ask(messages, sampling)

    lessons, _, _ = teach(Leap(), expert, attempts, tmp_path, task=task, index=1)
    assert len(lessons) == 4  # open, take, unlock, go
    training = Training(
        epochs=240, learning_rate=1e-2, batch_size=4, micro_batch_size=4, rank=0, precision="float32", threads=1
    )
    before = tiny()
    after, _ = before.learn(lessons, tmp_path / "student", training, seed=0)
    how = Generation(max_tokens=48)

    def success(student: Any) -> float:
        played = play(task.environment, student, problems, how, instruction=task.instruction)
        return sum(attempt.score or 0.0 for (attempt,) in played)

    assert (success(before), success(after)) == (0.0, 1.0)
