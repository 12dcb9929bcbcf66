"""Ask which fine skills a question needs, in free words: metacognitive skill labelling (arXiv 2405.12205, step 1)."""

from collections.abc import Mapping

from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import item, labelled, names_in, one_of, unwrapped

MOST = 5
"""Names that are read from one reply. The paper says "one or more"; five as STAT's labels (arXiv 2510.10023)."""
LONGEST = 60
"""Characters of a name, at most; a longer one is a sentence. Our own bound."""

SYSTEM = (
    "You name the skills that a problem needs. A skill's name has two to six words and says what one must be able to "
    "do, not what the problem is about. Do not solve the problem. Reply with one line: 'Skills:' and one to three "
    "names, separated by commas."
)

USER = """
<question>
{{ question }}
</question>
Reply with one line: 'Skills:' and one to three names, separated by commas.
"""


def parse(text: str) -> tuple[str, ...]:
    """Return the names, in lower case, each once.

    Raises:
        ParseError: the reply has no line `Skills:` and is not a mere list, or no name of a sensible length is in it.
    """
    listed = one_of(labelled(text, ("skills", "skill")), "skills", "skill")
    if listed is None:
        lines = [line for line in unwrapped(text).splitlines() if line.strip()]
        if not lines or any(item(line) is None for line in lines):
            raise ParseError("the reply has no line 'Skills: ...'")
        listed = "\n".join(lines)
    names = [name.lower() for name in names_in(listed)]
    fit = [name for name in names if 2 <= len(name) <= LONGEST and any(sign.isalpha() for sign in name)]
    if not fit or fit == ["none"]:
        raise ParseError("the reply names no skill")
    return tuple(dict.fromkeys(fit))[:MOST]


def example(fields: Mapping[str, object], number: int) -> str:
    """Return a reply as it should be."""
    return f"Skills: multiply whole numbers, add in the right order, keep {number % 20} terms in mind"


SKILL_NAMES = Prompt(
    name="skill_names",
    system=SYSTEM,
    user=USER,
    parse=parse,
    example=example,
    sampling=Sampling(max_tokens=128, temperature=0.0),  # names should not differ by chance; the paper gives none
)
"""Field: question."""
