"""An edit of the catalogue: which labels stay, which are renamed, which problems are asked again."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lessons.errors import InputError
from lessons.skills import Skill, SkillCatalog
from loops.catalog.file import CatalogFile, Label, entries_of
from loops.catalog.relabelling import Relabelling, relabelled

ALGEBRA = ("factoring", "solving", "exponents")
GEOMETRY = ("angles", "areas")


def listed(algebra: dict[str, str], geometry: dict[str, str] | None = None) -> SkillCatalog:
    geometry = dict.fromkeys(GEOMETRY, "") if geometry is None else geometry
    return SkillCatalog(
        skills=(
            *(Skill(name=name, description=text, subject="algebra") for name, text in algebra.items()),
            *(Skill(name=name, description=text, subject="geometry") for name, text in geometry.items()),
        )
    )


BEFORE = listed({name: f"Do {name}." for name in ALGEBRA})


def labels(**skills: tuple[str, ...]) -> dict[str, Label]:
    """Labels by problem id; an id that begins with g is of geometry."""
    return {
        key: Label(
            problem=key,
            skills=names,
            subject="geometry" if key.startswith("g") else "algebra",
            entries=entries_of(BEFORE, names),
        )
        for key, names in skills.items()
    }


LABELS = labels(
    a1=("factoring",), a2=("solving", "factoring"), a3=("exponents",), a4=(), g1=("angles",), g2=("areas", "angles")
)


def edited(after: SkillCatalog, **was: tuple[str, ...]) -> Relabelling:
    return relabelled(BEFORE, CatalogFile(after, {k.replace("_", " "): v for k, v in was.items()}), LABELS)


def test_nothing_changed_asks_nothing() -> None:
    assert edited(BEFORE) == (LABELS, {})


def test_a_skill_that_is_taken_out_asks_for_what_carried_it() -> None:
    done = edited(listed({"solving": "Do solving.", "exponents": "Do exponents."}))
    assert done.ask == {"a1": "'factoring' was taken out", "a2": "'factoring' was taken out"}
    assert done.stay == {key: LABELS[key] for key in ("a3", "a4", "g1", "g2")}


def test_a_rename_asks_nobody() -> None:
    after = listed({"to factor": "Do factoring.", "solving": "Do solving.", "exponents": "Do exponents."})
    done = edited(after, to_factor=("factoring",))
    assert done.ask == {}
    assert {key: one.skills for key, one in done.stay.items()} == {
        "a1": ("to factor",), "a2": ("solving", "to factor"), "a3": ("exponents",), "a4": (), "g1": ("angles",),
        "g2": ("areas", "angles"),
    }  # fmt: skip
    assert done.stay["a1"].entries == entries_of(after, ("to factor",))
    # given again, the rename is done already and says nothing more
    assert relabelled(after, CatalogFile(after, {"to factor": ("factoring",)}), done.stay) == (done.stay, {})


def test_another_spelling_is_the_same_skill() -> None:
    done = edited(listed({"Factoring": "Do factoring.", "solving": "Do solving.", "exponents": "Do exponents."}))
    assert done.ask == {}
    assert done.stay["a2"].skills == ("solving", "Factoring")


def test_another_description_asks_for_what_carries_the_skill() -> None:
    done = edited(listed({"factoring": "Other.", "solving": "Do solving.", "exponents": "Do exponents."}))
    assert done.ask == {"a1": "'factoring' is described anew", "a2": "'factoring' is described anew"}
    assert set(done.stay) == {"a3", "a4", "g1", "g2"}


def test_a_rename_with_another_description_asks_too() -> None:
    after = listed({"to factor": "Other.", "solving": "Do solving.", "exponents": "Do exponents."})
    assert edited(after, to_factor=("factoring",)).ask == dict.fromkeys(("a1", "a2"), "'to factor' is described anew")


def test_a_skill_that_is_added_asks_for_its_subject_only() -> None:
    texts = {name: f"Do {name}." for name in ALGEBRA}
    done = edited(listed({**texts, "logarithms": "Do them."}))
    assert done.ask == dict.fromkeys(("a1", "a2", "a3", "a4"), "'logarithms' was added")
    assert done.stay == {key: LABELS[key] for key in ("g1", "g2")}
    everywhere = SkillCatalog(skills=(*BEFORE.skills, Skill(name="reading")))  # no subject: it belongs to all
    assert set(edited(everywhere).ask) == set(LABELS)


def test_two_skills_become_one_and_nobody_is_asked() -> None:
    after = listed({"factoring": "Do factoring.", "solving": "Do solving."})
    done = edited(after, solving=("exponents",))
    assert done.ask == {}
    assert done.stay["a3"].skills == ("solving",)
    into_one = listed({"algebra": "Do factoring."})
    done = edited(into_one, algebra=("factoring", "solving", "exponents"))
    assert done.ask == {}
    assert done.stay["a2"].skills == ("algebra",)  # once, where both of its skills became it


@pytest.mark.parametrize(
    ("names", "was", "says"),
    [
        (("factoring", "to factor"), {"to factor": ("factoring",)}, "'factoring' stands in the list too"),
        (("one", "two"), {"one": ("solving",), "two": ("solving",)}, "both say `was: solving`"),
    ],
)
def test_a_rename_that_contradicts_the_list(names: tuple[str, ...], was: dict[str, tuple[str, ...]], says: str) -> None:
    with pytest.raises(InputError, match=says):
        relabelled(BEFORE, CatalogFile(listed(dict.fromkeys(names, "")), was), LABELS)


def test_only_the_second_pass_is_asked_again_where_only_that_is_touched() -> None:
    told = {"a3": Label(problem="a3", skills=("exponents",), again=("exponents", "solving"), subject="algebra")}
    after = listed({"factoring": "Do factoring.", "exponents": "Do exponents."})
    done = relabelled(BEFORE, CatalogFile(after, {}), told)
    assert done.ask == {}
    assert done.stay["a3"].again is None


def test_a_label_of_another_list_is_asked_again() -> None:
    foreign = {
        "a1": Label(problem="a1", skills=("juggling",), subject="algebra"),
        "a2": Label(problem="a2", skills=("solving",), subject="algebra", entries={"solving": "0" * 16}),
    }
    done = relabelled(BEFORE, CatalogFile(BEFORE, {}), foreign)
    assert done.ask == {"a1": "it carries 'juggling', which is not in the list", "a2": "'solving' is described anew"}


NAMES = tuple("abcdefgh")
catalogs = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(("", "x", "y")), st.sampled_from(("", "s", "t"))),
    max_size=8,
    unique_by=lambda row: row[0],
).map(lambda rows: SkillCatalog(skills=tuple(Skill(name=n, description=d, subject=s) for n, d, s in rows)))


@st.composite
def labelled(draw: st.DrawFn) -> tuple[SkillCatalog, dict[str, Label]]:
    catalog = draw(catalogs)
    made: dict[str, Label] = {}
    for number in range(draw(st.integers(0, 12))):
        subject = draw(st.sampled_from(("s", "t")))
        names = [skill.name for skill in catalog.of_subject(subject)]
        skills = tuple(draw(st.lists(st.sampled_from(names), unique=True, max_size=5))) if names else ()
        made[str(number)] = Label(
            problem=str(number), skills=skills, subject=subject, entries=entries_of(catalog, skills)
        )
    return catalog, made


@given(labelled(), catalogs)
def test_every_label_stays_or_is_asked_again_and_what_stays_is_true(
    start: tuple[SkillCatalog, dict[str, Label]], after: SkillCatalog
) -> None:
    before, made = start
    done = relabelled(before, CatalogFile(after, {}), made)
    assert set(done.stay) | set(done.ask) == set(made)
    assert not set(done.stay) & set(done.ask)
    assert all(done.ask.values())
    for key, one in done.stay.items():
        lists = {
            when: {skill.name: skill.description for skill in catalog.of_subject(one.subject)}
            for when, catalog in (("before", before), ("after", after))
        }
        assert one == made[key]
        assert all(lists["before"][name] == lists["after"][name] for name in one.skills)
        assert set(lists["after"]) <= set(lists["before"])
    for key in done.ask:
        one = made[key]
        old = {skill.name: skill.description for skill in before.of_subject(one.subject)}
        new = {skill.name: skill.description for skill in after.of_subject(one.subject)}
        assert set(new) - set(old) or any(old[name] != new.get(name) for name in one.skills)
    assert relabelled(after, CatalogFile(after, {}), done.stay) == (done.stay, {})


@given(labelled(), st.permutations(NAMES))
def test_renaming_everything_asks_nobody_and_renaming_back_brings_the_labels_back(
    start: tuple[SkillCatalog, dict[str, Label]], shuffled: list[str]
) -> None:
    before, made = start
    assume(before.skills)
    new = dict(zip(NAMES, (f"new {name}" for name in shuffled), strict=True))
    renamed = SkillCatalog(
        skills=tuple(Skill(name=new[s.name], description=s.description, subject=s.subject) for s in before.skills)
    )
    there = relabelled(before, CatalogFile(renamed, {new[s.name]: (s.name,) for s in before.skills}), made)
    assert there.ask == {}
    assert {k: one.skills for k, one in there.stay.items()} == {
        k: tuple(new[name] for name in one.skills) for k, one in made.items()
    }
    back = relabelled(renamed, CatalogFile(before, {s.name: (new[s.name],) for s in before.skills}), there.stay)
    assert back == (made, {})


@given(labelled(), st.randoms(use_true_random=False))
def test_the_order_of_the_list_changes_nothing(start: tuple[SkillCatalog, dict[str, Label]], rng) -> None:
    before, made = start
    rows = list(before.skills)
    rng.shuffle(rows)
    assert relabelled(before, CatalogFile(SkillCatalog(skills=tuple(rows)), {}), made) == (made, {})
