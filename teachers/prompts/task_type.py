"""Ask which type of task a question is, from a closed list: TAPIR's classifier (arXiv 2405.13448)."""

import re
from collections.abc import Mapping
from functools import partial

from lessons.skills import SkillCatalog
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import bare, literal

SYSTEM = (
    "You sort questions by the type of task that they are. Choose the one type of the list that fits best, exactly as "
    "it stands there. Reply with one line: 'Type:' and the type."
)

LONGEST_REPLY = 2000
"""Characters of a reply that are searched for a type. Our own bound."""


def parse(text: str, catalog: SkillCatalog) -> str:
    """Return the type, in the list's spelling: what stands behind the last "Type:", else the first type of the list
    that occurs in the reply as words; "" where none does, as the released operator falls back to "others"."""
    said = text[:LONGEST_REPLY]
    lines = [line.partition(":") for line in said.splitlines() if bare(line).casefold().startswith("type")]
    for _, colon, rest in reversed(lines):
        if colon and (named := catalog.match(bare(rest))):
            return named
    words = f" {_plain(said)} "
    for name in catalog.names:
        plain = _plain(name[:LONGEST_REPLY])
        if plain and f" {plain} " in words:
            return name
    return ""


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def example(fields: Mapping[str, object], number: int, catalog: SkillCatalog) -> str:
    """Return a reply as it should be."""
    return f"Type: {catalog.names[number % len(catalog.names)] if catalog.names else 'others'}"


def task_type(catalog: SkillCatalog) -> Prompt[str]:
    """Return the prompt for this closed list of types. Field: question."""
    listed = "\n".join(f"- {literal(name)}" for name in catalog.names)
    question = "<question>\n{{ question }}\n</question>"
    return Prompt(
        name="task_type",
        system=SYSTEM,
        user=f"<types>\n{listed}\n</types>\n{question}\nOf which type is the question?",
        parse=partial(parse, catalog=catalog),
        example=partial(example, catalog=catalog),
        sampling=Sampling(max_tokens=32, temperature=0.0),  # 0 as in the released operator
    )
