"""Ask a teacher to solve a problem of the task that it is to teach: the exam that it sits before round 1.

It is asked as for a lesson's rationale, without sight of the answer, and told what the student is told with it.
"""

from dataclasses import replace

import msgspec

from teachers.prompts.rationale import RATIONALE
from teachers.prompts.rationale import USER as PLAIN

USER = (
    """
{% if instruction %}
<instruction>
{{ instruction }}
</instruction>
The instruction is what a student is told with this problem. Keep to the form of an answer that it asks for.
{% endif %}
"""
    + PLAIN
)

PREFLIGHT = replace(
    RATIONALE,
    name="preflight",
    user=USER,
    sampling=msgspec.structs.replace(RATIONALE.sampling, temperature=0.0),  # one answer, as sure as it can be
)
"""Fields: question; instruction: the task's system message for the student, or "" (then it is asked as the method
`rationale` asks for a single rationale, and the two share their replies)."""
