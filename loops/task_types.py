"""Types of task: which one a question is, and in what style a teacher answers one (TAPIR, arXiv 2405.13448)."""

from collections.abc import Mapping, Sequence

from lessons.records import Problem
from lessons.skills import SkillCatalog
from loops.round import Round
from loops.together import together
from teachers.prompts.task_type import task_type

OTHERS = "others"
"""What fits no type of the list, and what the teacher's reply names none for."""

STEPS = "Work it out step by step, every step a short sentence, every calculation written out; the result comes last."
CODE = "Give the code in one block, each part of it with a comment on what it does and why; then a word on its use."
PLAIN = "Answer at once what is asked, then give what the reader needs to understand it, in well-ordered paragraphs."

STYLES: Mapping[str, str] = {"math": STEPS, "reasoning": STEPS, "code generation": CODE, "code debug": CODE}
"""Type -> the style of its answers: reasons for mathematics and logic, commented code, as recalled of the paper; all
others are `PLAIN`. Our own words."""


async def types_of(round_: Round, problems: Sequence[Problem], types: Sequence[str]) -> list[str]:  # [problem]
    """Ask of which type each problem is; `OTHERS` where the teacher names none of the list, or its reply is lost."""
    prompt = task_type(SkillCatalog.of_names(types))
    told = await together(round_.ask(prompt, question=problem.question) for problem in problems)
    return [next((said.value for said in replies if said.value), OTHERS) for replies in told]


def style_of(name: str) -> str:
    """Return the style in which a question of a type is answered."""
    return STYLES.get(name.casefold(), PLAIN)
