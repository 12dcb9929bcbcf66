"""How the demo's teacher coaches by rule: it relabels a student's steps, and says which of two answers is better.

In the house it goes by a shortest way or by searching, on a demo problem by the problem's own solution.
"""

import re
from collections.abc import Mapping
from random import Random

import msgspec

from lessons.demo.house import read_facts
from lessons.demo.house_search import Sight, knowing, searching, sight
from lessons.demo.marking import mark
from lessons.demo.skills import understand
from lessons.steps import action_in
from teachers.prompts import preference, relabel, styled_rationale

_STEP = re.compile(r"^Step \d+\nSeen: (.*)\nActions: (.*)\nReason: .*\nAction: (.*)$", re.MULTILINE)
_LINE = re.compile(r"^Step \d+: (.*)$", re.MULTILINE)

MOST_STEPS = 200
"""Steps of an attempt that is relabelled. Our own bound."""


def relabelled_actions(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    """Relabel an attempt in the house: by a shortest way where all privileged facts are there, else by searching.

    Wrong on request: every action is drawn by chance.
    """
    steps = _STEP.findall(fields.get("attempt", ""))
    if not 0 < len(steps) <= MOST_STEPS:
        return None
    house = read_facts(fields.get("privileged", ""))
    sights: list[Sight] = []
    taken: list[str] = []
    found: list[relabel.Step] = []
    for seen, listed, action in steps:
        now, candidates = sight(seen), listed.split(", ")
        if now is None:
            return None
        sights.append(now)
        best = searching(sights) if house is None else knowing(house, taken)
        if best is None:
            return None
        chosen = rng.choice(candidates) if is_wrong else best.action
        found.append(relabel.Step(reason=best.reason, action=chosen))
        taken += [done] if (done := action_in(f"Action: {action}", candidates)) else []
    return _reply("It does not go for what is in sight.", found)


def relabelled_lines(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    """Relabel a written solution of a demo problem: its first line becomes the worked solution, the others go.

    Wrong on request: the last line is left as the student wrote it.
    """
    lines = _LINE.findall(fields.get("attempt", ""))
    marked = mark(fields.get("task", ""), "\n".join(lines))
    if marked is None or not 0 < len(lines) <= MOST_STEPS:
        return None
    texts = ["", *("" for _ in lines[1:])]
    texts[0] = marked.worked.text
    if is_wrong:
        texts = lines
    steps = [
        relabel.Step(reason="It is worked out anew." if text else "It is not needed.", action=text) for text in texts
    ]
    return _reply("The answer is wrong.", steps)


def preferred(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    """Prefer the answer to a demo problem that is right; neither where both are right or both wrong."""
    marks = [mark(fields.get("question", ""), fields.get(name, "")) for name in ("first", "second")]
    if marks[0] is None or marks[1] is None:
        return None
    if marks[0].right == marks[1].right:
        better = rng.choice(("first", "second")) if is_wrong else "neither"
    else:
        better = "first" if marks[0].right != is_wrong else "second"
    return f"Reason: It was worked out anew.\nBetter: {better}"


def in_style(fields: Mapping[str, str], is_wrong: bool, rng: Random) -> str | None:
    """Work a demo problem; told to be brief, by its answer's own line alone but for one word. Wrong: a typical slip."""
    understood = understand(fields.get("question", ""))
    if understood is None:
        return None
    skill, facts = understood
    steps, answer = skill.work(facts, is_wrong)
    return f"{'So:' if 'one line' in fields.get('style', '') else steps}\nAnswer: {answer}"


def _reply(mistakes: str, steps: list[relabel.Step]) -> str:
    return msgspec.json.encode(relabel.Relabelled(mistakes=mistakes, steps=steps)).decode()


RULES = {
    relabel.SYSTEM_ACTIONS: relabelled_actions,
    relabel.SYSTEM_LINES: relabelled_lines,
    preference.SYSTEM: preferred,
    styled_rationale.SYSTEM: in_style,
}
"""System text of a prompt -> the rule that answers it."""
