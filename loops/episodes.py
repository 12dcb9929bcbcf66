"""Episodes: the student acts in an environment turn by turn, all running episodes at once."""

from collections.abc import Sequence
from typing import NamedTuple

from lessons.ids import seed_of
from lessons.numbers import NO_ANSWER
from lessons.records import Attempt, Message, Problem
from lessons.steps import action_in, reason_in
from loops.environments.base import Environment, Seen, shown
from loops.tasks.base import student_prompt
from students.base import Generation, Progress, Student


class Turn(NamedTuple):
    """One step of an episode."""

    seen: Seen
    """What was seen before it."""
    text: str
    """What the student said."""
    action: str | None
    """The candidate that it named; None where it named none."""

    @property
    def reason(self) -> str:
        """What it said before it named its action."""
        return reason_in(self.text)


def play(
    environment: Environment,
    student: Student,
    problems: Sequence[Problem],
    how: Generation,
    *,
    instruction: str = "",
    samples: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[list[Attempt]]:  # [problem][sample]
    """Let the student act until each episode is over; the running episodes of a sample are answered together.

    An attempt's text is what was said last, its turns are what passed before, its score is the environment's.

    Raises:
        InputError: a problem is none of the environment's.
        StudentError: a chat and its answer do not fit the student's positions.
    """
    played: list[list[Attempt]] = [[] for _ in problems]
    for sample in range(samples):
        episodes = [environment.reset(problem) for problem in problems]
        chats: list[list[Message]] = [list(student_prompt(instruction, problem)) for problem in problems]
        begins = [len(chat) for chat in chats]
        named: list[list[str]] = [[] for _ in problems]
        cut = [False] * len(problems)
        running = [place for place, episode in enumerate(episodes) if not episode.seen.done]
        for step in range(environment.steps):
            if not running:
                break
            answers = student.answer(
                [tuple(chats[place]) for place in running], how, seed=seed_of("episode", seed, sample, step)
            )
            for place, (answer,) in zip(running, answers, strict=True):
                chats[place].append(Message(role="assistant", content=answer.text))
                action = action_in(answer.text, episodes[place].seen.actions)
                named[place] += [action] if action else []
                cut[place] = answer.cut
                seen = episodes[place].step(action or "")
                if not seen.done and step + 1 < environment.steps:
                    chats[place].append(Message(role="user", content=shown(seen)))
            running = [place for place in running if not episodes[place].seen.done]
            if progress is not None:
                over = len(problems) - (len(running) if step + 1 < environment.steps else 0)
                progress(sample * len(problems) + over, samples * len(problems))
        for place, (problem, episode, chat) in enumerate(zip(problems, episodes, chats, strict=True)):
            ended = episode.seen
            note = "" if ended.done else f"not done in {environment.steps} steps" if named[place] else NO_ANSWER
            played[place].append(
                Attempt(
                    problem=problem,
                    student=student.digest,
                    text=chat[-1]["content"] if len(chat) > begins[place] else "",
                    turns=tuple(chat[begins[place] : -1]),
                    sample=sample,
                    score=ended.score,
                    answer=named[place][-1] if named[place] else None,
                    note=note,
                    cut=cut[place],
                )
            )
    return played


def turns_of(environment: Environment, attempt: Attempt) -> list[Turn]:
    """Return an attempt's episode step by step, gone through again."""
    texts = [turn["content"] for turn in attempt.turns if turn["role"] == "assistant"] + [attempt.text]
    return along(environment, attempt.problem, texts)


def along(environment: Environment, problem: Problem, texts: Sequence[str]) -> list[Turn]:
    """Return an episode step by step, with what is said in each turn; what follows its end is left out."""
    episode = environment.reset(problem)
    turns: list[Turn] = []
    for text in texts:
        seen = episode.seen
        if seen.done:
            break
        turns.append(Turn(seen, text, action_in(text, seen.actions)))
        episode.step(turns[-1].action or "")
    return turns


def chat_before(instruction: str, problem: Problem, turns: Sequence[Turn], step: int) -> tuple[Message, ...]:
    """Return the chat that a step (from 0) answers: the problem's prompt, what was said and seen before, what is seen.

    It is the chat of the exam, word for word.
    """
    chat = list(student_prompt(instruction, problem))
    for place in range(step):
        chat.append(Message(role="assistant", content=turns[place].text))
        chat.append(Message(role="user", content=shown(turns[place + 1].seen)))
    return tuple(chat)
