"""LEAP: the student's own steps, each as somebody with more in sight would have taken it (arXiv 2410.05434)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import msgspec

from lessons.ids import seed_of
from lessons.records import Attempt, Lesson, Span
from lessons.steps import said
from loops.environments.base import Environment, EpisodicTask
from loops.episodes import Turn, along, chat_before, turns_of
from loops.iterations import equal_parts, kept
from loops.methods.base import together
from loops.privileged import Leaks, betrayed, facts_of, given_away, share_of, told_early
from loops.rolling import aimed, one_each
from loops.round import Round, Said
from loops.self_asking import ask_student
from teachers.prompts.base import Prompt
from teachers.prompts.relabel import Relabelled, for_actions, for_lines, shown_lines, shown_steps

__all__ = ["Leap"]

AGAIN = 0.7
"""Temperature of the tries after the first one, which is greedy: the same question would get the same reply. Ours."""


class Case(NamedTuple):
    """One attempt that is relabelled."""

    attempt: Attempt
    turns: list[Turn]
    """Its steps; empty for a solution in writing."""
    lines: list[str]
    """The lines of a solution in writing; empty for an episode."""
    prompt: Prompt[Relabelled]
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leap:
    """Failed attempts, relabelled step by step by a teacher that sees privileged facts and must not give them away.

    In an environment each step is a lesson: the chat as the student had it, with its own earlier actions, and the
    corrected reason and action. In writing the student's lines are its steps, the reference solution is privileged, and
    an attempt is one lesson: the lines before the first wrong one stay and carry no loss, the rest is the teacher's.
    The paper goes on from the last student (`train.start: last`); with `base`, all of what earlier rounds trained on
    comes again beside the mix.
    """

    paper: ClassVar[str] = "arXiv:2410.05434"
    teacher: ClassVar[str] = "how each step of a failed attempt should have been"
    student: ClassVar[str] = "nothing"
    cost: ClassVar[str] = "1 call an attempt, up to 3 where it cannot be read; an attempt has as many lessons as steps"
    threshold: float = 0.0
    """Attempts with at most this score are relabelled, in [0, 1]; 0, failures alone, as in the released code."""
    privileged: Literal[0, 25, 50, 75, 100] = 100
    """Per cent of the privileged facts that the teacher sees, from the general ones to those that give the solution
    away. The paper has five such levels, and finds that corrections which lean on too much cannot be followed; that a
    level is a share of the facts is our reading."""
    tries: int = 3
    """Times that a teacher is asked for one attempt until its reply can be read, has a step for each step, and only
    actions that could be done; 3 as in the released code."""
    first: Literal["expert", "student"] = "expert"
    """What round 1 relabels in an environment: `expert`, as in the paper, its expert's own way through each examined
    problem, to which the teacher adds reasons; `student` its failures, as later rounds do."""
    by: Literal["teacher", "student"] = "teacher"
    """Who relabels: `student` is the paper's self-teaching, the student with the privileged facts in the teacher's
    place."""
    pairs: bool = False
    """Make pairs for the objective `dpo`: the corrected step is chosen, the student's own is rejected; steps that stay
    as they were make none."""
    mix: bool = True
    """Add the lessons of earlier rounds, all rounds cut to the size of the smallest, as in the paper."""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1 or self.tries < 1:
            raise ValueError("threshold must lie in [0, 1], tries must be at least 1")
        if self.pairs and self.first == "expert":
            raise ValueError("pairs need the student's own steps, and the expert's have none: set first to student")

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Relabel the failed attempts, drop what gives hidden things away, and mix with earlier rounds' lessons."""
        environment = round.task.environment if isinstance(round.task, EpisodicTask) else None
        cases = self.acted(round, environment) if environment else self.written(round)
        lessons: list[Lesson] = []
        leaks: dict[str, str] = {}
        for case, reply in zip(cases, await self.replies(round, cases), strict=True):
            if reply is None:
                round.counts["attempts that nobody relabelled"] += 1
            elif environment is not None:
                lessons += self.of_steps(round, environment, case, reply, leaks)
            else:
                lessons += self.of_lines(round, case, reply, leaks)
        made = round.keep(lessons, Leaks(found=leaks), "leak")
        rounds = kept(round, made)
        return equal_parts(round, rounds) if self.mix else made

    def clones(self, round_: Round) -> bool:
        """Whether this round takes the expert's way, not the student's."""
        return self.first == "expert" and round_.index == 1 and isinstance(round_.task, EpisodicTask)

    def acted(self, round_: Round, environment: Environment) -> list[Case]:
        """Return the episodes to relabel: the expert's in round 1 where it comes first, else the student's failures."""
        found: list[Case] = []
        for attempt in one_each(round_, "all") if self.clones(round_) else self.failed(round_):
            if self.clones(round_):
                texts = [said("", action) for action in environment.expert(attempt.problem)]
                turns = along(environment, attempt.problem, texts)
            else:
                turns = turns_of(environment, attempt)
            if turns:
                rows = [(turn.seen.text, turn.seen.actions, turn.reason, turn.action or turn.text) for turn in turns]
                fields = {
                    "task": attempt.problem.question,
                    "privileged": "\n".join(share_of(environment.facts(attempt.problem), self.privileged)),
                    "attempt": shown_steps(rows),
                    "count": len(rows),
                }
                found.append(Case(attempt, turns, [], for_actions([turn.seen.actions for turn in turns]), fields))
        return found

    def written(self, round_: Round) -> list[Case]:
        """Return the failed solutions to relabel; an empty one has no steps."""
        found: list[Case] = []
        for attempt in self.failed(round_):
            lines = [line for line in attempt.text.strip().splitlines() if line.strip()]
            if not lines:
                round_.counts["attempts without words"] += 1
                continue
            fields = {
                "task": attempt.problem.question,
                "privileged": "\n".join(share_of(facts_of(attempt.problem), self.privileged)),
                "attempt": shown_lines(lines),
                "count": len(lines),
            }
            found.append(Case(attempt, [], lines, for_lines(lines), fields))
        return found

    def failed(self, round_: Round) -> list[Attempt]:
        """Return the attempts with at most the threshold's score."""
        return [attempt for attempt in round_.attempts if attempt.score is not None and attempt.score <= self.threshold]

    async def replies(self, round_: Round, cases: Sequence[Case]) -> list[Said[Relabelled] | None]:
        """Return what is said of each attempt; None where no try could be read."""
        found: list[Said[Relabelled] | None] = [None] * len(cases)
        for number in range(self.tries):
            left = [place for place, reply in enumerate(found) if reply is None]
            if not left:
                break
            sampling = cases[left[0]].prompt.sampling
            if number:
                seed = seed_of(round_.seed, "try", number)
                sampling = msgspec.structs.replace(sampling, temperature=AGAIN, seed=seed)
            if self.by == "student":
                told = ask_student(round_, [(cases[at].prompt, cases[at].fields) for at in left], sampling, number)
            else:
                told = await together(
                    round_.ask(cases[at].prompt, 1, sampling=sampling, **cases[at].fields) for at in left
                )
            for place, replies in zip(left, told, strict=True):
                found[place] = replies[0] if replies else None
        return found

    def of_steps(
        self, round_: Round, environment: Environment, case: Case, reply: Said[Relabelled], leaks: dict[str, str]
    ) -> list[Lesson]:
        """Return a lesson for each step of an episode, the chat before it as the student had it.

        On the expert's way the chat before holds the reasons that were added, as the student will say them itself,
        but for those that give something away.
        """
        lessons: list[Lesson] = []
        problem, taken, turns = case.attempt.problem, list[str](), list(case.turns)
        for number, (turn, step) in enumerate(zip(case.turns, reply.value.steps, strict=True)):
            action = turn.action if self.clones(round_) and turn.action else step.action
            hidden = environment.hidden(problem, taken)
            asked = environment.next(problem, taken)
            taken += [turn.action] if turn.action else []
            if self.pairs and (action == turn.action or not turn.text.strip()):
                round_.counts["steps without a pair: as they should be, or empty"] += 1
                continue
            lesson = round_.lesson(
                asked,
                said(step.reason, action),
                attempt=case.attempt,
                skill=aimed(case.attempt),
                calls=[reply.call] if reply.call else [],
                prompt=chat_before(round_.task.instruction, problem, turns, number),
                rejected=turn.text.strip() if self.pairs else None,
            )
            if leak := given_away(step.reason, hidden) or betrayed(step.reason):
                leaks[lesson.id] = leak
            elif self.clones(round_):
                turns[number] = turn._replace(text=lesson.completion)
            lessons.append(lesson)
        return lessons

    def of_lines(self, round_: Round, case: Case, reply: Said[Relabelled], leaks: dict[str, str]) -> list[Lesson]:
        """Return one lesson of a solution in writing: the lines that were right, then the teacher's; none where no line
        was changed."""
        texts = [step.action.strip() for step in reply.value.steps]
        pairs = zip(case.lines, texts, strict=True)
        own = next(
            (at for at, (was, text) in enumerate(pairs) if " ".join(was.split()) != " ".join(text.split())), None
        )
        new = "\n".join(text for text in texts[own:] if text) if own is not None else ""
        if own is None or not new:
            round_.counts["solutions left as they were"] += 1
            return []
        before = "".join(f"{line}\n" for line in case.lines[:own])
        lesson = round_.lesson(
            case.attempt.problem,
            before + new,
            attempt=case.attempt,
            skill=aimed(case.attempt),
            calls=[reply.call] if reply.call else [],
            spans=(Span(start=0, end=len(before), weight=0.0),) if before and not self.pairs else (),
            rejected=case.attempt.text.strip() if self.pairs else None,
        )
        if leak := betrayed(new) or told_early(lesson.completion.splitlines(), own, case.attempt.problem):
            leaks[lesson.id] = leak
        return [lesson]
