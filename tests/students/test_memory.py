"""A student with a prompt memory: how chats are rendered, what is answered, scored and learned."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.memory import Demonstration, Memory, Rubric, numbered
from lessons.records import Message
from students.base import Answer, Generation, Progress, Training
from students.hf import HFStudent
from students.memory import MemoryStudent, Recall, Rubrics, bare, memory_of, remembering, revision_prompt
from students.tiny import tiny


def user(text: str) -> Message:
    return Message(role="user", content=text)


def system(text: str) -> Message:
    return Message(role="system", content=text)


@dataclass
class Echo:
    """A student that says what its rule makes of a chat, and keeps what it was asked."""

    name: str = "echo"
    digest: str = "echo-1"
    asked: list[tuple[list[tuple[Message, ...]], int, int]] = field(default_factory=list)
    scored: list[tuple[Any, str]] = field(default_factory=list)

    def answer(
        self,
        prompts: Sequence[Sequence[Message]],
        generation: Generation,
        *,
        samples: int = 1,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[list[Answer]]:
        self.asked.append(([tuple(prompt) for prompt in prompts], samples, seed))
        if progress is not None:
            progress(len(prompts) * samples, len(prompts) * samples)
        return [
            [Answer(f"{len(self.asked)}.{sample} to {prompt[-1]['content'][:8]}") for sample in range(samples)]
            for prompt in prompts
        ]

    def score(self, rows: Sequence[tuple[Any, str]], *, progress: Progress | None = None) -> list[list[float]]:
        self.scored += list(rows)
        return [[-1.0] for _ in rows]


def echo(memory: Memory) -> tuple[Echo, MemoryStudent]:
    weights = Echo()
    return weights, MemoryStudent(cast(Any, weights), memory)


DEMOS = (
    Demonstration(question="Add 3 and 4 apples.", completion="Answer: 7", skills=("adding",)),
    Demonstration(question="Add 30 and 4 pears.", completion="Answer: 34", skills=("adding",)),
    Demonstration(question="How many minutes are 2 hours?", completion="Answer: 120", skills=("units",)),
    Demonstration(question="How many hours are 120 minutes?", completion="Answer: 2", skills=("units", "adding")),
)
RUBRICS = (
    Rubric(name="sums", criteria=("It adds all numbers.",), questions=("Add 1 and 2 plums.",)),
    Rubric(name="units", criteria=("It says the unit.", "It is short."), questions=("How many hours are 3 days?",)),
)


def test_an_empty_memory_changes_nothing_at_all() -> None:
    student = tiny()
    assert remembering(student, Memory()) is student
    assert remembering(student, Memory(shown=3, choose="skill", room=9)) is student  # settings of nothing
    assert memory_of(student) == memory_of(None) == Memory()
    held = remembering(student, Memory(instructions="Think."))
    assert held.digest != student.digest
    assert remembering(held, Memory()) is student
    assert bare(held) is student


def test_each_part_of_a_memory_is_part_of_the_digest() -> None:
    student = tiny()
    memories = [
        Memory(instructions="Think."), Memory(principles=("Think.",)), Memory(demonstrations=DEMOS),
        Memory(demonstrations=DEMOS, shown=1), Memory(demonstrations=DEMOS, choose="skill"), Memory(rubrics=RUBRICS),
        Memory(rubrics=RUBRICS, draft_with_rubric=True), Memory(rubrics=RUBRICS, revisions=1), Memory(revisions=1),
        Memory(demonstrations=DEMOS, room=100), Memory(demonstrations=DEMOS[::-1]),
    ]  # fmt: skip
    digests = [remembering(student, memory).digest for memory in memories]
    assert len({*digests, student.digest}) == len(memories) + 1
    other = remembering(tiny(seed=1), memories[0])
    assert other.digest != digests[0]
    assert remembering(tiny(), Memory(instructions="Think.")).digest == digests[0]


def test_instructions_principles_and_rubric_stand_behind_the_chats_own_system_message() -> None:
    memory = Memory(instructions="Go slowly.", principles=("Carry.", "Check."), rubrics=RUBRICS, draft_with_rubric=True)
    assert Recall(memory).render([system("You are a pupil."), user("Add 5 and 6.")]) == (
        system(
            "You are a pupil.\n\nGo slowly.\n\nPrinciples:\n1. Carry.\n2. Check.\n\n"
            "A good answer to this:\n- It adds all numbers."
        ),
        user("Add 5 and 6."),
    )
    assert Recall(Memory(principles=("Carry.",))).render([user("Add.")]) == (
        system("Principles:\n1. Carry."),
        user("Add."),
    )


def test_demonstrations_are_earlier_turns_the_nearest_one_last() -> None:
    recall = Recall(Memory(demonstrations=DEMOS, choose="words", shown=2))
    assert recall.render([system("S"), user("Add 8 and 9 pears.")]) == (
        system("S"),
        user("Add 3 and 4 apples."), Message(role="assistant", content="Answer: 7"),
        user("Add 30 and 4 pears."), Message(role="assistant", content="Answer: 34"),
        user("Add 8 and 9 pears."),
    )  # fmt: skip


def test_fixed_demonstrations_are_the_first_ones_in_their_order() -> None:
    recall = Recall(Memory(demonstrations=DEMOS, shown=3))
    assert recall.demonstrations("How many?") == list(DEMOS[:3])
    assert Recall(Memory(demonstrations=DEMOS)).demonstrations("How many?") == list(DEMOS)


def test_a_question_is_never_shown_its_own_answer() -> None:
    for choose in ("fixed", "words", "skill"):
        recall = Recall(Memory(demonstrations=DEMOS, choose=choose))
        shown = recall.demonstrations("  add 3 AND 4  apples. ")
        assert DEMOS[0] not in shown
        assert DEMOS[1] in shown


def test_the_skill_is_voted_by_the_nearest_labelled_ones_and_those_of_the_skill_are_shown() -> None:
    recall = Recall(Memory(demonstrations=DEMOS, choose="skill", shown=2))
    question = "How many minutes are 3 hours and 4 pears?"
    assert recall.skill(question, range(4)) == "units"
    assert [one.question for one in recall.demonstrations(question)] == [DEMOS[3].question, DEMOS[2].question]
    # `units` has two; of `adding` there are three, one of which has it as its second skill.
    assert recall.skill("Add 5 and 6 pears.", range(4)) == "adding"
    assert set(Recall(Memory(demonstrations=DEMOS, choose="skill")).demonstrations("Add 5 and 6 pears.")) == {
        DEMOS[0], DEMOS[1], DEMOS[3],
    }  # fmt: skip
    plain = tuple(msgspec.structs.replace(one, skills=()) for one in DEMOS)
    unlabelled = Recall(Memory(demonstrations=plain, choose="skill", shown=1))
    assert unlabelled.demonstrations("Add 5 and 6 pears.") == [plain[1]]


def test_the_label_of_the_question_itself_does_not_vote() -> None:
    odd = Demonstration(question="Add 5 and 6 pears.", completion="Answer: 11", skills=("fruit",))
    recall = Recall(Memory(demonstrations=(odd, *DEMOS), choose="skill"))
    assert {one.skills[0] for one in recall.demonstrations("Add 5 and 6 pears.")} == {"adding", "units"}


def test_demonstrations_keep_to_the_room_the_nearest_first() -> None:
    sizes = [len(one.question) + len(one.completion) for one in DEMOS]
    recall = Recall(Memory(demonstrations=DEMOS, choose="words", room=sizes[1] + sizes[2]))
    shown = recall.demonstrations("Add 8 and 9 pears.")
    assert shown[-1] == DEMOS[1]
    assert sum(len(one.question) + len(one.completion) for one in shown) <= sizes[1] + sizes[2]


def test_an_empty_chat_stays_empty_so_that_scores_of_bare_texts_are_those_of_the_weights() -> None:
    weights, student = echo(Memory(instructions="Think."))
    student.score([((), "a text"), ((user("q"),), "an answer")])
    assert weights.scored == [((), "a text"), ((system("Think."), user("q")), "an answer")]


def test_without_revisions_the_draft_is_the_answer() -> None:
    weights, student = echo(Memory(principles=("Carry.",)))
    answers = student.answer([(user("q one"),), (user("q two"),)], Generation(), samples=2, seed=5)
    assert answers[1] == [Answer("1.0 to q two"), Answer("1.1 to q two")]
    assert weights.asked == [
        ([(system("Principles:\n1. Carry."), user(q)) for q in ("q one", "q two")], 2, 5),
    ]


def test_each_draft_is_revised_by_its_rubric_as_often_as_the_memory_says() -> None:
    weights, student = echo(Memory(rubrics=RUBRICS, revisions=2))
    chats = [(system("S"), user("Add 7 and 8.")), (system("S"), user("How many hours are 2 days?"))]
    told: list[tuple[int, int]] = []
    answers = student.answer(chats, Generation(), samples=2, seed=5, progress=lambda done, of: told.append((done, of)))
    # A draft of both chats; then, for each of two passes and two samples, one revision of both.
    assert [(len(asked), samples) for asked, samples, _ in weights.asked] == [(2, 2), (2, 1), (2, 1), (2, 1), (2, 1)]
    assert weights.asked[0][0] == chats  # drafted without the rubric
    first = weights.asked[1][0]
    assert first[0] == revision_prompt(chats[0], RUBRICS[0], "1.0 to Add 7 an")
    assert first[1] == revision_prompt(chats[1], RUBRICS[1], "1.0 to How many")
    assert weights.asked[2][0][0] == revision_prompt(chats[0], RUBRICS[0], "1.1 to Add 7 an")
    assert weights.asked[3][0][0] == revision_prompt(chats[0], RUBRICS[0], "2.0 to Add 7 an")
    assert answers == [
        [Answer("4.0 to Add 7 an"), Answer("5.0 to Add 7 an")],
        [Answer("4.0 to How many"), Answer("5.0 to How many")],
    ]
    seeds = [seed for _, _, seed in weights.asked]
    assert seeds[0] == 5
    assert len(set(seeds)) == 5
    assert told == [(4, 12), (6, 12), (8, 12), (10, 12), (12, 12)]


def test_a_revision_prompt_holds_question_criteria_and_draft_and_nothing_else() -> None:
    chat = (system("S"), user("Add 7 and 8."))
    (head, last) = revision_prompt(chat, RUBRICS[1], "It is 16.")
    assert head == system("S")
    assert last["content"].startswith(
        "Add 7 and 8.\n\nA good answer to this:\n- It says the unit.\n- It is short.\n\n"
        "A draft of the answer:\nIt is 16."
    )
    assert "A good answer" not in revision_prompt(chat, None, "x")[-1]["content"]


def test_the_rubric_of_a_question_is_that_of_the_nearest_labelled_one() -> None:
    rubrics = Rubrics(RUBRICS)
    assert rubrics.of("How many hours are 9 days?") == RUBRICS[1]
    assert rubrics.of("Add 9 and 1 plums.") == RUBRICS[0]
    assert rubrics.of("nothing alike") == RUBRICS[0]  # a tie: the first
    assert Rubrics(()).of("x") is None


def test_learning_passes_on_and_the_next_student_has_the_same_memory(
    student: HFStudent, lessons: Any, training: Training, tmp_path: Path
) -> None:
    memory = Memory(principles=("Say one word.",))
    held = remembering(student, memory)
    one_epoch = msgspec.structs.replace(training, epochs=1)
    taught, learned = held.learn(lessons, tmp_path / "a", one_epoch, seed=3)
    plain, same = student.learn(lessons, tmp_path / "b", one_epoch, seed=3)
    assert memory_of(taught) == memory
    assert bare(taught).digest == plain.digest  # lessons are learned as they are, without the memory
    assert learned.adapter == same.adapter
    again = held.with_adapter(tmp_path / "a" / learned.adapter)
    assert again.digest == taught.digest != held.digest


def test_a_real_student_answers_and_scores_as_the_rendered_chat_does(student: HFStudent) -> None:
    memory = Memory(instructions="Say red.", demonstrations=DEMOS[:1])
    held, chat = remembering(student, memory), (user("say blue"),)
    whole = Recall(memory).render(chat)
    how = Generation(max_tokens=8)
    assert held.answer([chat], how) == student.answer([whole], how)
    assert held.score([(chat, "blue")]) == student.score([(whole, "blue")])
    assert held.score([(chat, "blue")]) != student.score([(chat, "blue")])


def test_what_it_holds_is_told() -> None:
    memory = Memory(instructions="x", principles=("a", "b"), rubrics=RUBRICS[:1], revisions=1)
    assert memory.told == "instructions, 2 principles, 1 rubric, 1 revision"
    assert Memory().told == "nothing"
    assert numbered(["a\n b", "c"]) == "1. a b\n2. c"


texts = st.text(max_size=12)
demos = st.lists(
    st.builds(Demonstration, question=texts, completion=texts, skills=st.lists(texts, max_size=2).map(tuple)),
    max_size=6,
)


@given(
    demos, st.sampled_from(["fixed", "words", "skill"]), st.integers(0, 4), st.integers(0, 30), texts,
    st.lists(st.sampled_from(["system", "user", "assistant"]), max_size=4),
)  # fmt: skip
def test_any_memory_renders_any_chat(
    held: list[Demonstration], choose: Any, shown: int, room: int, question: str, roles: list[Any]
) -> None:
    memory = Memory(demonstrations=tuple(held), choose=choose, shown=shown, room=room, principles=("p",))
    chat = [Message(role=role, content=question) for role in roles]
    found = Recall(memory).demonstrations(question)
    assert all(one in held and one.question.casefold().split() != question.casefold().split() for one in found)
    assert not shown or len(found) <= shown
    assert not room or sum(len(one.question) + len(one.completion) for one in found) <= room
    rendered = Recall(memory).render(chat)
    assert sum(turn["role"] == "system" for turn in rendered) == (1 if chat else 0)
    rest = [turn for turn in chat if turn["role"] != "system"]
    assert list(rendered[len(rendered) - len(rest) :]) == rest
    assert msgspec.json.decode(msgspec.json.encode(memory), type=Memory).id == memory.id


@pytest.mark.parametrize("part", [{"instructions": "x"}, {"revisions": 1}, {"principles": ("a",)}])
def test_what_makes_a_memory_not_empty(part: dict[str, Any]) -> None:
    assert not Memory(**part).empty
