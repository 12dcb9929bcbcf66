"""What the parsers share: how a reply is read. Lenient about dress, strict about form; a reply is never guessed at.

A reply is hostile text: everything here is linear in its length and raises nothing but ParseError.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from lessons.errors import ParseError
from lessons.skills import Skill, SkillCatalog

LONGEST_ANSWER = 200
"""Characters of a final answer, at most: a longer one is an explanation. Our own bound."""
MOST_JOINED = 4
"""Comma-separated pieces that one catalogue name may consist of. Our own bound."""

MOST_PIECES = 50
"""Comma-separated pieces that are looked up in one reply: a list of three or five names has fewer. Our own bound."""

LOOSE = ("reason", "error")
"""Labels whose second line contradicts nothing: a reason goes on in further words, and "Error:" may stand in one."""

_DRESS = "*_`#> \t\r\n"
_TAG = re.compile(r"<(/?)([a-z_]{1,32})>")
_ANSWER = re.compile(r"(?<![a-z])(?:the[ \t])?(?:final[ \t])?answer(?:[ \t]is)?[*_`]{0,3}[ \t]{0,3}:", re.IGNORECASE)
_IS = re.compile(r"(?:the )?(?:final )?answer is:?[ \t]+", re.IGNORECASE)
_LATEX = re.compile(r"\\[(\[](.*)\\[)\]]|\$\$?([^$]*)\$\$?|\\boxed\{([^{}]*)\}")
_NUMBERING = re.compile(r"[\W_]*(?:step[ \t])?\d{0,2}[\W_]*", re.IGNORECASE)
_ITEM = re.compile(r"(?:[-+•*][ \t]|\d{1,2}[.)][ \t])")
_BARE_NUMBER = re.compile(r"\d{1,2}[.)]")
_PHRASE = re.compile(r"(?:the|this|student's|student’s|attempt|solution|answer|final|is|it)\b")

_VERDICTS: dict[str, Literal["right", "wrong"]] = {
    "right": "right",
    "correct": "right",
    "wrong": "wrong",
    "incorrect": "wrong",
}


def sections(text: str) -> dict[str, str]:
    """Return the fields of a rendered prompt: tag -> what stands in it. `fenced` makes that exact."""
    found: dict[str, str] = {}
    opened, start = "", 0
    for tag in _TAG.finditer(text):
        closing, name = tag.groups()
        if not closing and not opened:
            opened, start = name, tag.end()
        elif closing and name == opened:
            found[name] = text[start : tag.start()].strip()
            opened = ""
    return found


def literal(text: str) -> str:
    """Return a template expression that renders as this text, on one line, whatever signs the text holds."""
    escaped = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return f'{{{{ "{escaped}" }}}}'


def skill_lines(skills: Sequence[Skill]) -> str:
    """Return the lines of a template that show a closed list: one `- name: description` each."""
    lines = [f"{s.name}: {s.description}" if s.description else s.name for s in skills]
    return "\n".join(f"- {literal(line)}" for line in lines)


def bare(text: str) -> str:
    """Return the text without the markdown and blanks around it."""
    return text.strip(_DRESS)


def item(line: str) -> str | None:
    """Return what stands in a list's line (`- x`, `* x`, `3. x`), or None where the line is no item of a list."""
    stripped = line.strip()
    if _ITEM.match(stripped) is None:
        stripped = stripped.lstrip("*_#> ")
    head = _ITEM.match(stripped)
    return bare(stripped[head.end() :]) if head else None


def unwrapped(text: str) -> str:
    """Return the reply without a code fence around the whole of it."""
    stripped = text.strip()
    if stripped.startswith("```") and stripped.endswith("```") and "\n" in stripped:
        return stripped.partition("\n")[2][:-3].strip()
    return stripped


def stated_answer(text: str) -> tuple[str, str]:
    """Return (what precedes, the final answer) of a reply whose last line states it behind "Answer:".

    Raises:
        ParseError: the last line does not state it, nothing precedes it, or what stands there is no short answer.
    """
    body, last = _last_line(unwrapped(text))
    labels = list(_ANSWER.finditer(last))
    if labels:
        label = labels[-1]
        before, value = _joined(body, last[: label.start()]), last[label.end() :]
    else:
        before, line = _last_line(body)
        label = _ANSWER.search(line)
        if label is None or bare(line[label.end() :]):
            raise ParseError("the reply does not end in a line 'Answer: ...'")
        before, value = _joined(before, line[: label.start()]), last
    answer = _undressed(value)
    if not answer or len(answer) > LONGEST_ANSWER:
        raise ParseError(f"no final answer of 1 to {LONGEST_ANSWER} characters stands behind 'Answer:'")
    steps = before.strip()
    if not any(sign.isalnum() for sign in steps):
        raise ParseError("the reply is the bare answer, without the steps that were asked for")
    return steps, answer


def worked_solution(text: str) -> str:
    """Return a solution as a lesson holds it: the steps, then one plain last line `Answer: ...`.

    Raises:
        ParseError: the reply does not end in the answer's line, or has no steps.
    """
    steps, answer = stated_answer(text)
    return f"{steps}\nAnswer: {answer}"


def _undressed(value: str) -> str:
    """Return an answer without markdown, LaTeX signs around the whole of it, and words that only announce it."""
    answer = bare(value).rstrip(". ")
    if len(answer) > 2 * LONGEST_ANSWER:
        return answer
    announced = _IS.match(answer)
    answer = answer[announced.end() :] if announced else answer
    for _ in range(2):  # a box within formula signs
        found = _LATEX.fullmatch(answer)
        if found is None:
            break
        answer = bare(found[1] or found[2] or found[3] or "")
    return answer.rstrip(". ")


def _joined(body: str, opening: str) -> str:
    """Return the text before a label: the lines above, and what opens the label's own line, without mere dress."""
    is_number = len(opening) <= 20 and _NUMBERING.fullmatch(opening)  # "4. " of a list whose last item is the answer
    lines = [*body.splitlines(), "" if is_number else opening.rstrip(_DRESS + "-")]
    while lines and not any(sign.isalnum() for sign in lines[-1]):
        lines.pop()
    return "\n".join(lines)


def _last_line(text: str) -> tuple[str, str]:
    """Return (everything before, the last line that is not mere dress)."""
    rest = text.rstrip(_DRESS)
    body, _, last = rest.rpartition("\n")
    return body, last


def verdict_of(text: str) -> Literal["right", "wrong"] | None:
    """Return the verdict that a short phrase states ("wrong", "The solution is incorrect."), or None."""
    if len(text) > 80:
        return None
    words = bare(text).lower().strip(" .!'\"*_()[]").split()
    if not words or any(not _PHRASE.fullmatch(word) for word in words[:-1]):
        return None
    return _VERDICTS.get(words[-1])


def labelled(text: str, labels: Sequence[str]) -> dict[str, str]:
    """Return label -> what stands behind it, over all its lines, up to the next label; of several `LOOSE`, the first.

    Raises:
        ParseError: any other label stands twice with different texts.
    """
    found: dict[str, str] = {}
    for name, value in _labelled(unwrapped(text), labels):
        if found.setdefault(name, value) != value and name not in LOOSE:
            raise ParseError(f"the reply has two different lines '{name}:'")
    return found


def _labelled(text: str, labels: Sequence[str]) -> Iterator[tuple[str, str]]:
    name, lines = "", list[str]()
    inline = re.compile(rf"(?<=[.!?])[ \t](?=[*_]{{0,2}}(?:{'|'.join(labels)})[*_]{{0,2}}:)", re.IGNORECASE)
    for line in inline.sub("\n", text).splitlines():
        head, colon, rest = line.partition(":")
        label = bare(item(head) or head).lower() if colon and len(head) <= 60 else ""
        if label in labels:
            if name:
                yield name, "\n".join(lines).strip()
            name, lines = label, [bare(rest)]
        elif name and not _BARE_NUMBER.fullmatch(line.strip()):
            lines.append(line.strip())
    if name:
        yield name, "\n".join(lines).strip()


def one_of(found: dict[str, str], *labels: str) -> str | None:
    """Return the text of the first of these labels that is there."""
    return next((found[label] for label in labels if label in found), None)


def names_in(text: str) -> list[str]:
    """Return the names of a comma list, or of a list with one name a line."""
    pieces: list[str] = []
    for line in text.splitlines():
        if not line.strip() and pieces:
            break  # an afterthought in a paragraph of its own is not part of the list
        pieces.extend(bare(piece).strip("\"'[]. ") for piece in re.split(r"[,;]", item(line) or line))
    return [piece for piece in pieces if piece]


def from_list(text: str, catalog: SkillCatalog, most: int) -> tuple[str, ...]:
    """Return the names of a closed list that a text names, each once, at most `most`; unknown ones are dropped.

    "none" is the empty list.

    Raises:
        ParseError: the text names something, and nothing of the list.
    """
    known = {" ".join(name.split()).casefold(): name for name in catalog.names}
    pieces = names_in(text)[:MOST_PIECES]
    found: dict[str, None] = {}
    at = 0
    while at < len(pieces):
        for width in range(min(MOST_JOINED, len(pieces) - at), 0, -1):
            spoken = ", ".join(pieces[at : at + width])
            name = known.get(" ".join(spoken.split()).casefold()) or _spelled(spoken, catalog)
            if name is not None:
                found[name] = None
                at += width
                break
        else:
            at += 1
    if not found and [piece.casefold() for piece in pieces] not in ([], ["none"]):
        raise ParseError(f"no name of the closed list stands in {text[:80]!r}")
    if not found and not pieces:
        raise ParseError("the line 'Skills:' is empty")
    return tuple(found)[:most]


def _spelled(spoken: str, catalog: SkillCatalog) -> str | None:
    if len(spoken) > 200:
        return None
    name, colon, _ = spoken.partition(":")  # a name given with its description, as it stands in the list
    return catalog.match(spoken) or (catalog.match(name) if colon else None)
