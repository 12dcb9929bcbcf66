"""Ask for new questions of one type of task, as hard as the examples: TAPIR's expansion (arXiv 2405.13448)."""

from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.new_problems import example, parse

SYSTEM = (
    "You write questions for a student. You get a type of task and example questions of it that the student finds "
    "hard. Write new questions of the same type that are as hard as the examples, in other situations and on other "
    "matters: not an example with words exchanged. Each must hold all that is needed to answer it. Do not answer them. "
    "Put each on one line that begins with 'Question:'."
)

USER = """
<type>
{{ type }}
</type>
<examples>
{{ examples }}
</examples>
<count>
{{ count }}
</count>
Write {{ count }} new questions of the type. Begin each with 'Question:' and put all of it on one line. Do not write
answers.
"""

TYPED_PROBLEMS = Prompt(
    name="typed_problems",
    system=SYSTEM,
    user=USER,
    parse=parse,
    example=example,
    sampling=Sampling(max_tokens=768, temperature=0.7),  # new questions must differ; the paper's is not known
)
"""Fields: type, examples (one a line), count."""
