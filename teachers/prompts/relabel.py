"""Ask how each step of a student's attempt should have been, with more in sight than the student had.

LEAP (arXiv 2410.05434): the privileged relabelling of a whole attempt, for students that act in turns and for solutions
that are written line by line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import msgspec

from lessons.errors import ParseError
from lessons.steps import action_in
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.structured import structured

_AS_SEEN = (
    "You may be shown privileged facts that the student cannot know. Let them guide which step you choose, but act as "
    "somebody who has seen no more than the student had by then: a reason names only what was seen before its step, "
    "and a general hint on how to go about it, never a privileged fact. "
)
SYSTEM_ACTIONS = (
    "You coach a student that acts in a world, step by step. You see what it saw, what it could do, why it did what it "
    "did, and what it did. Sum up its mistakes in one or two sentences. Then say for every step, in order, what would "
    "have been best there: a short reason, and one of the actions that could be done at that step, word for word. Take "
    "every step as it came: the student had done before it what it did, not what you would have. " + _AS_SEEN
)
SYSTEM_LINES = (
    "You coach a student whose written solution is wrong. Its lines are its steps. Sum up its mistakes in one or two "
    "sentences. Then give every line again, in order: a line that is right stays word for word; from the first wrong "
    "line on, write each line as it should be, so that lines that were kept and yours together are one right solution. "
    "The last line that you do not leave empty ends in 'Answer:' and the final answer; what is not needed is an empty "
    "text. The reason says in a few words why a line is changed. Do not mention the reference or that you saw one. "
    + _AS_SEEN
)

_USER = """
<task>
{{ task }}
</task>
{% if privileged %}
<privileged>
{{ privileged }}
</privileged>
{% endif %}
<attempt>
{{ attempt }}
</attempt>
<count>
{{ count }}
</count>
Give the mistakes, then exactly {{ count }} steps.
"""


class Step(msgspec.Struct):
    """One step as it should have been."""

    reason: str
    action: str


class Relabelled(msgspec.Struct):
    """The mistakes of an attempt, and each of its steps as it should have been."""

    mistakes: str
    steps: list[Step]


_EXAMPLE = Relabelled(mistakes="It walks back and forth.", steps=[Step(reason="The box is closed.", action="open box")])


def _prompt(name: str, system: str) -> Prompt[Relabelled]:
    return structured(
        name,
        system=system,
        user=_USER,
        form=Relabelled,
        sampling=Sampling(max_tokens=2048, temperature=0.0),  # a correction, so no chance in the first try
        example=_EXAMPLE,
    )


RELABEL_ACTIONS = _prompt("relabel_actions", SYSTEM_ACTIONS)
"""Fields: task, privileged (facts, one a line; "" for none), attempt (the steps, as `shown_steps` writes them), count.
Its parser knows no candidates: ask with `for_actions`."""
RELABEL_LINES = _prompt("relabel_lines", SYSTEM_LINES)
"""Fields: the same; attempt is the solution's lines, one step each. Ask with `for_lines`."""


def for_actions(candidates: Sequence[Sequence[str]]) -> Prompt[Relabelled]:
    """Return the prompt for an attempt whose steps had these candidates: [step][candidate].

    Its parser refuses another number of steps, and an action that was no candidate of its step.
    """

    def checked(said: Relabelled) -> Relabelled:
        found: list[Step] = []
        for number, (step, known) in enumerate(zip(said.steps, candidates, strict=True), start=1):
            action = action_in(f"Action: {step.action}", known)
            if action is None:
                raise ParseError(f"step {number}: {step.action[:60]!r} is none of: {', '.join(known)[:150]}")
            found.append(Step(reason=step.reason, action=action))
        return Relabelled(mistakes=said.mistakes, steps=found)

    first = [known[0] for known in candidates]
    return _checked(RELABEL_ACTIONS, len(candidates), checked, first)


def for_lines(lines: Sequence[str]) -> Prompt[Relabelled]:
    """Return the prompt for a solution of these lines. Its parser refuses another number of steps, and no words."""

    def checked(said: Relabelled) -> Relabelled:
        if not any(step.action.strip() for step in said.steps):
            raise ParseError("every step's action is empty, so nothing is left of the solution")
        return said

    return _checked(RELABEL_LINES, len(lines), checked, list(lines))


def _checked(
    prompt: Prompt[Relabelled], count: int, then: Callable[[Relabelled], Relabelled], first: Sequence[str]
) -> Prompt[Relabelled]:
    def parse(text: str) -> Relabelled:
        said = prompt.parse(text)
        if len(said.steps) != count:
            raise ParseError(f"the attempt has {count} steps, and the reply has {len(said.steps)}")
        return then(said)

    def example(fields: Mapping[str, object], number: int) -> str:
        steps = [Step(reason="This is what is in sight.", action=action) for action in first]
        return msgspec.json.encode(Relabelled(mistakes=_EXAMPLE.mistakes, steps=steps)).decode()

    return replace(prompt, parse=parse, example=example)


def shown_steps(rows: Sequence[tuple[str, Sequence[str], str, str]]) -> str:
    """Return steps as the teacher reads them: (observation, candidates, reason, action) each, every part on one line.

    The lines of a part are joined, so that nothing that the student said looks like another step.
    """
    blocks = [
        f"Step {number}\nSeen: {_line(seen)}\nActions: {', '.join(candidates)}\nReason: {_line(reason)}\n"
        f"Action: {_line(action)}"
        for number, (seen, candidates, reason, action) in enumerate(rows, start=1)
    ]
    return "\n\n".join(blocks)


def shown_lines(lines: Sequence[str]) -> str:
    """Return the lines of a solution as numbered steps."""
    return "\n".join(f"Step {number}: {_line(line)}" for number, line in enumerate(lines, start=1))


def _line(text: str) -> str:
    return " ".join(text.split()) or "(nothing)"
