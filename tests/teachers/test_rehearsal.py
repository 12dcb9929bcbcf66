import pytest

from lessons.skills import Skill, SkillCatalog
from teachers.base import Reply, Usage
from teachers.calls import Caller
from teachers.prompts.critique import CRITIQUE
from teachers.prompts.missing_skills import missing_skills
from teachers.prompts.new_problems import NEW_PROBLEMS
from teachers.prompts.rationale import RATIONALE
from teachers.prompts.skill_clusters import SKILL_CLUSTERS
from teachers.prompts.skill_labels import skill_labels
from teachers.prompts.skill_names import SKILL_NAMES
from teachers.prompts.solution import SOLUTION
from teachers.rehearsal import Rehearsal, mean_completion
from teachers.scripted import ScriptedTeacher

LISTED = SkillCatalog(skills=(Skill(name="carrying"), Skill(name="units, metric")))
FIELDS = {
    "question": "2 + 2?",
    "attempt": "5",
    "skill": "carrying",
    "examples": "1. 2 + 2?",
    "count": 3,
    "names": "a\nb",
}
EVERY = [
    CRITIQUE, NEW_PROBLEMS, RATIONALE, SKILL_CLUSTERS, SKILL_NAMES, SOLUTION,
    missing_skills(LISTED), skill_labels(LISTED),
]  # fmt: skip


@pytest.mark.parametrize("prompt", EVERY, ids=lambda prompt: prompt.name)
def test_the_example_of_every_prompt_is_read_by_its_own_parser(prompt):
    read = [prompt.parse(prompt.example(FIELDS, number)) for number in range(40)]
    assert all(value for value in read)


def test_examples_differ_where_replies_must():
    problems = [NEW_PROBLEMS.parse(NEW_PROBLEMS.example(FIELDS, number)) for number in range(20)]
    assert all(len(some) == 3 for some in problems)
    assert len({question for some in problems for question in some}) == 60


async def test_a_rehearsal_counts_what_would_be_sent_and_sends_nothing():
    asker = Rehearsal()
    await asker.ask(RATIONALE, {"question": "2 + 2?"}, n=3)
    (answer,) = await asker.ask(SOLUTION, {"question": "What is ten times ten?"})
    assert answer.value.answer == "12"
    need = asker.needs["rationale"]
    size = sum(len(turn["content"]) for turn in RATIONALE.messages({"question": "2 + 2?"}))
    assert (need.requests, need.prompt_bytes, need.turns, need.max_tokens) == (3, 3 * size, 6, 3 * 512)
    assert list(asker.needs) == ["rationale", "solution"]
    assert asker.totals.asked == 4
    assert asker.per_byte() is None
    assert mean_completion(need) is None


async def test_sample_calls_are_few_kept_and_tell_real_lengths(ledger):
    def wordy(messages, sampling):
        size = sum(len(turn["content"]) for turn in messages)
        return Reply(
            text="It is four.\nAnswer: 4", usage=Usage(prompt=size // 4, completion=20 + len(teacher.requests))
        )

    teacher = ScriptedTeacher(replies=wordy)
    asker = Rehearsal(Caller(teacher, ledger), ledger, calls=4)
    answers = [(await asker.ask(SOLUTION, {"question": f"{n} + {n}?"}))[0] for n in range(10, 20)]
    assert len(teacher.requests) == 4
    assert [answer.value.answer for answer in answers][:5] == ["4"] * 4 + ["16"]  # then the example
    assert asker.needs["solution"].requests == 10
    mean, error = mean_completion(asker.needs["solution"])
    assert mean == 22.5
    assert error == pytest.approx((5 / 3) ** 0.5 / 2)
    assert asker.per_byte() == pytest.approx(0.25, abs=0.01)
