"""The skill prompts' parsers: names in free words, a catalogue, and names of a closed list only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import ParseError
from lessons.skills import Skill, SkillCatalog
from teachers.prompts.missing_skills import ERRORS, missing_skills
from teachers.prompts.reading import sections
from teachers.prompts.skill_clusters import SKILL_CLUSTERS
from teachers.prompts.skill_labels import skill_labels
from teachers.prompts.skill_names import SKILL_NAMES

CATALOG = SkillCatalog(
    skills=(
        Skill(name="carrying", description="Add with a carry, column by column"),
        Skill(name="second smallest"),
        Skill(name="time, clocks", description="Tell the time"),
    )
)
words = st.text(alphabet="abcdefghij ", min_size=3, max_size=40).map(str.strip).filter(lambda text: len(text) > 2)


@pytest.mark.parametrize(
    ("reply", "names"),
    [
        ("Skills: Adding with a carry, reading a story", ("adding with a carry", "reading a story")),
        ("**Skills:** adding; adding", ("adding",)),
        ("Skills:\n- adding\n- reading a story\n\nThese are needed.", ("adding", "reading a story")),
        ("1. **Adding**\n2. Counting", ("adding", "counting")),
        ("I think so.\nSkills: [adding, 'counting'].", ("adding", "counting")),
        ("Skills: a1, b1, c1, d1, e1, f1, g1", ("a1", "b1", "c1", "d1", "e1")),
    ],
)
def test_skill_names_are_read(reply: str, names: tuple[str, ...]) -> None:
    assert SKILL_NAMES.parse(reply) == names


@pytest.mark.parametrize(
    "reply", ["", "adding", "Skills:", "Skills: none", "Skills: " + "x" * 99, "Skills: 12, 7", "- "]
)
def test_replies_without_skill_names_are_refused(reply: str) -> None:
    with pytest.raises(ParseError):
        SKILL_NAMES.parse(reply)


def test_clusters_become_a_catalogue() -> None:
    reply = (
        "Here:\n- **Carrying**: Add with a carry.\n* units: Convert: metres, hours.\n3. carrying: again\n- no colon\n"
    )
    catalog = SKILL_CLUSTERS.parse(reply)
    assert [(s.name, s.description) for s in catalog.skills] == [
        ("Carrying", "Add with a carry."),
        ("units", "Convert: metres, hours."),
    ]


@pytest.mark.parametrize(
    ("reply", "listed"),
    [
        (
            "- name: Adding\n  description: Add.\n- name: Taking\n  description: Take.",
            {"Adding": "Add.", "Taking": "Take."},
        ),
        ("1. **Adding**:\n   Add two.\n\n2. **Taking** - Take away", {"Adding": "Add two.", "Taking": "Take away"}),
        ("- short name: Adding: Add two\n- Skill: Taking – take", {"Adding": "Add two", "Taking": "take"}),
        ("* Name: **Adding**\n* Description: Add.\n\nThese are all.", {"Adding": "Add."}),
        ("- a–b — c\n- multi-step: x: y", {"a–b": "c", "multi-step": "x: y"}),
        ("- no description\n\nThis is prose.\n- a; b: c\n- none: d\n- a, b, c, d, e: f", {"a, b": "c"}),
    ],
)
def test_catalogues_in_the_dress_of_weak_models_are_read(reply: str, listed: dict[str, str]) -> None:
    assert {skill.name: skill.description for skill in SKILL_CLUSTERS.parse(reply).skills} == listed


@pytest.mark.parametrize(
    "reply",
    ["", "Carrying: Add.", "- carrying", "- : x", f"- {'x' * 61}: y", "\n".join(f"- skill {i}: x" for i in range(31))],
)
def test_replies_without_a_catalogue_are_refused(reply: str) -> None:
    with pytest.raises(ParseError):
        SKILL_CLUSTERS.parse(reply)


@given(
    st.lists(
        words.filter(lambda name: name != "none"), min_size=1, max_size=20, unique_by=lambda n: " ".join(n.split())
    )
)
def test_catalogues_round_trip(names: list[str]) -> None:
    catalog = SKILL_CLUSTERS.parse("\n".join(f"- {name}: about {name}" for name in names))
    assert catalog.names == tuple(" ".join(name.split()) for name in names)


@pytest.mark.parametrize(
    ("listed", "skills"),
    [
        ("carrying", ("carrying",)),
        ("Carrying, Second-Smallest", ("carrying", "second smallest")),
        ("time, clocks, carrying", ("time, clocks", "carrying")),
        ("second_smallest, juggling, carrying, carrying", ("second smallest", "carrying")),
        ("\n- **carrying**\n- second smallest\n\nThat is all, carrying on.", ("carrying", "second smallest")),
        ("carrying: Add with a carry, column by column", ("carrying",)),
        ("['carrying', 'second smallest'].", ("carrying", "second smallest")),
        ("none", ()),
        ("None.", ()),
    ],
)
def test_only_names_of_the_closed_list_are_taken(listed: str, skills: tuple[str, ...]) -> None:
    assert skill_labels(CATALOG).parse(f"Reason: why\nSkills: {listed}") == (skills, "why")
    reply = f"**Verdict:** wrong\n**Reason:** why\n**Skills:** {listed}"
    assert missing_skills(CATALOG).parse(reply) == ("wrong", "why", skills, None)
    on_one_line = f"Reason: why. Verdict: wrong. **Skills:** {listed}"
    assert missing_skills(CATALOG).parse(on_one_line) == ("wrong", "why.", skills, None)


@pytest.mark.parametrize(
    "reply", ["", "carrying", "Skills:", "Skills: juggling", "Skills: juggling, none", "Reason: x"]
)
def test_labels_outside_the_closed_list_are_refused(reply: str) -> None:
    with pytest.raises(ParseError):
        skill_labels(CATALOG).parse(reply)
    with pytest.raises(ParseError):
        missing_skills(CATALOG).parse(f"Verdict: wrong\n{reply}")


def test_a_right_attempt_lacks_nothing() -> None:
    parse = missing_skills(CATALOG).parse
    assert parse("Verdict: right\nReason: good\nSkills: carrying") == ("right", "good", (), None)
    assert parse("Verdict: right\nReason: good\nReason: better") == ("right", "good", (), None)
    assert parse("Reason: good,\nreally good\n1. Verdict: Correct.") == ("right", "good,\nreally good", (), None)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Error: arithmetic slip", "arithmetic slip"),
        ("**Error:** Arithmetic-Slip.", "arithmetic slip"),
        ("Error: wrong_plan (it adds instead of multiplying)", "wrong plan"),
        ("- Error: misread question", "misread question"),
        ("Error: format", "format"),
        ("Error: gave up", "gave up"),
        ("Error: none", None),
        ("Error: truncated", None),  # known without a teacher
        ("Error: information is missing", None),
        ("Error: arithmetic slip, wrong plan", None),  # nobody knows which
        ("Error: format\nError: wrong plan", "format"),
        ("", None),
    ],
)
def test_the_kind_of_error_is_one_of_the_list(line: str, kind: str | None) -> None:
    said = missing_skills(CATALOG).parse(f"Verdict: wrong\n{line}\nSkills: carrying\nReason: why")
    assert said == ("wrong", "why", ("carrying",), kind)


def test_a_right_attempt_can_only_be_wrong_in_its_form() -> None:
    parse = missing_skills(CATALOG).parse
    assert parse("Verdict: right\nError: format\nSkills: none\nReason: why").error == "format"
    assert parse("Verdict: right\nError: wrong plan\nSkills: none\nReason: why").error is None


@given(line=st.text(max_size=200))
def test_any_line_of_an_error_is_read_or_passed_over(line: str) -> None:
    said = missing_skills(CATALOG).parse(f"Error: {' '.join(line.split())}\nVerdict: wrong\nSkills: carrying")
    assert said.error in (None, *ERRORS)


def test_only_a_privileged_prompt_shows_the_reference() -> None:
    fields = {"question": "q?", "attempt": "a", "reference": "because 6 * 7 = 42"}
    plain, privileged = missing_skills(CATALOG), missing_skills(CATALOG, privileged=True)
    assert not [turn for turn in plain.messages(fields) if "6 * 7" in turn["content"]]
    assert sections(privileged.messages(fields)[1]["content"])["reference"] == "because 6 * 7 = 42"
    assert plain.version != privileged.version


@pytest.mark.parametrize(
    "reply",
    [
        "Skills: carrying",
        "Verdict: maybe\nSkills: carrying",
        "Verdict: wrong",
        "Verdict: right\nSkills: none\nVerdict: wrong",
        "Verdict: not wrong\nSkills: carrying",
    ],
)
def test_a_diagnosis_without_its_form_is_refused(reply: str) -> None:
    with pytest.raises(ParseError):
        missing_skills(CATALOG).parse(reply)


def test_at_most_so_many_names_are_taken() -> None:
    catalog = SkillCatalog.of_names(f"skill {i}" for i in range(9))
    listed = ", ".join(catalog.names)
    assert len(skill_labels(catalog).parse(f"Skills: {listed}").skills) == 5
    assert len(missing_skills(catalog).parse(f"Verdict: wrong\nSkills: {listed}").skills) == 3


def test_a_reply_that_repeats_a_long_list_is_no_label():
    names = [f"skill {letter}" for letter in "abcdefghijklmn"]
    catalog = SkillCatalog.of_names(names)
    parse = skill_labels(catalog).parse
    assert parse(f"Skills: {', '.join(names[:10])}").skills == tuple(names[:5])
    with pytest.raises(ParseError, match="names 14 skills; at most 5 were asked for"):
        parse(f"Skills: {', '.join(names)}")


@pytest.mark.parametrize(
    ("reason", "kind", "rest"),
    [
        ("[wrong plan] It adds.", "wrong plan", "It adds."),
        ("(arithmetic-slip): 3 x 4 is 12.", "arithmetic slip", "3 x 4 is 12."),
        ("[the second step] It adds.", None, "[the second step] It adds."),
        ("[gave up, format] Nothing.", None, "[gave up, format] Nothing."),
        ("It adds [wrong plan].", None, "It adds [wrong plan]."),
    ],
)
def test_the_kind_of_error_may_stand_in_brackets_before_the_reason(reason, kind, rest):
    said = missing_skills(CATALOG).parse(f"Verdict: wrong\nSkills: carrying\nReason: {reason}")
    assert (said.error, said.reason) == (kind, rest)
