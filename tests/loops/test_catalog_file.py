"""The catalogue's file and the labels beside it: read strictly, written for people, refused in one line."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import InputError, ParseError
from lessons.skills import Skill, SkillCatalog
from loops.catalog.file import (
    FOR_EDITING,
    CatalogFile,
    Label,
    catalog_of,
    inlined,
    read_catalog,
    read_labels,
    rows_of,
    write_catalog_file,
    write_labels,
)
from loops.records import CatalogInfo
from loops.store import dump_yaml
from teachers.prompts.skill_clusters import SKILL_CLUSTERS

CATALOG = SkillCatalog(
    skills=(Skill(name="carrying", description="Add: with a carry."), Skill(name="angles", subject="geometry"))
)
LABELS = {
    "1": Label(problem="1", skills=("carrying",), again=(), by="tutor", question="17 + 25?"),
    "2": Label(problem="2", subject="geometry"),
}


def test_a_catalogue_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "skills.yaml"
    file = CatalogFile(CATALOG, {"angles": ("corners", "turns")})
    write_catalog_file(path, file)
    assert read_catalog(path) == file
    text = path.read_text()
    assert text.startswith(FOR_EDITING)
    assert "- name: carrying\n  description: 'Add: with a carry.'\n" in text


def test_what_people_write_is_read(tmp_path: Path) -> None:
    path = tmp_path / "skills.yaml"
    path.write_text("skills:\n- adding\n- name: '  two\n    words '\n  was: old one\n- name: c\n  was: [a, b]\n")
    catalog, was = read_catalog(path)
    assert catalog == SkillCatalog.of_names(["adding", "two words", "c"])
    assert was == {"two words": ("old one",), "c": ("a", "b")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("skills: [a, 'a']", "skill 2: 'a' stands in the list twice"),
        ("skills: [Two-step, two step]", "skill 2: 'two step' stands in the list twice"),
        ("skills: [yes]", "skill 1: expected a mapping with 'name' and 'description', got True"),
        ("skills: [{name: 3}]", "skill 1: name: must be a text, got 3; put it in quotes"),
        ("skills: [{name: '3'}]", "skill 1: name: must be a name of at most 100 characters with a letter, got '3'"),
        ("skills: [{name: None}]", "skill 1: name: must be a name"),
        ("skills: [{name: a; b}]", "signs that lists of names are cut at"),
        ("skills: [{name: a, desciption: b}]", "skill 1: unknown key 'desciption'; did you mean description"),
        ("skills: [{description: b}]", "skill 1: has no 'name'"),
        ("skills: [{name: a, subject: [b]}]", "skill 1: subject: must be a text"),
        ("skills: [{name: a, was: {b: c}}]", "skill 1: was: must be a text"),
        ("skills: {a: b}", "skills: expected a list"),
        ("- a", "is no catalogue of skills"),
        ("", "is no catalogue of skills"),
        ("skills: [a\nb: {", "line 2, column 2: not valid YAML"),
    ],
)
def test_a_wrong_catalogue_is_refused_in_one_line(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "skills.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_catalog(path)
    assert str(error.value).startswith(f"{path}: ")
    assert says in str(error.value)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "skills.yaml").write_bytes(b"skills: [\xff]")
    with pytest.raises(InputError, match="UTF-8"):
        read_catalog(tmp_path / "skills.yaml")


names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=40)


@given(st.lists(st.fixed_dictionaries({"name": names}, optional={"description": names, "subject": names})))
def test_any_list_is_read_or_refused_and_what_is_read_comes_back(rows: list[dict[str, Any]]) -> None:
    try:
        file = catalog_of(rows, "here")
    except InputError as error:
        assert str(error).startswith("here: ")
        return
    assert catalog_of(rows_of(file), "here") == file


@given(st.lists(st.tuples(names, st.sampled_from((":", " - ", ":\n")), names), min_size=1), st.text(max_size=40), names)
def test_whatever_a_teacher_lists_can_be_read_back_from_the_file(
    rows: list[tuple[str, str, str]], more: str, subject: str
) -> None:
    try:
        catalog = SKILL_CLUSTERS.parse("\n".join(f"- {''.join(row)}" for row in rows) + more)
    except ParseError:
        return
    subjects = (msgspec.structs.replace(skill, subject=subject) for skill in catalog.skills)
    file = CatalogFile(SkillCatalog(skills=tuple(subjects)), {})
    try:
        assert catalog_of(yaml.safe_load(dump_yaml({"skills": rows_of(file)}))["skills"], "here") == file
    except InputError as error:
        assert "stands in the list twice" in str(error)  # spellings that a catalogue takes for one


def test_labels_come_back_and_nothing_there_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "skills.yaml"
    assert read_labels(path) == ({}, None)
    info = CatalogInfo(source="teacher", skills=CATALOG.skills, labelled=1, unlabelled=1)
    write_labels(path, LABELS, info)
    assert read_labels(path) == (LABELS, info)
    assert '"question":"17 + 25?"' in (tmp_path / "skills.labels.jsonl").read_text()


def test_damaged_and_foreign_labels_are_refused(tmp_path: Path) -> None:
    path, labels, info = (tmp_path / name for name in ("skills.yaml", "skills.labels.jsonl", "skills.json"))
    write_labels(path, LABELS, CatalogInfo(source="teacher"))
    whole = labels.read_bytes()
    labels.write_bytes(b'{"skills": 3}\n' + whole)
    with pytest.raises(InputError, match=r"skills.labels.jsonl: line 1: .*delete .* to label every problem anew"):
        read_labels(path)
    labels.write_bytes(whole)
    info.write_text('{"source": "nobody"}')
    with pytest.raises(InputError, match=r"skills\.json: .*delete"):
        read_labels(path)
    info.unlink()
    with pytest.raises(InputError, match=r"skills\.json, which says what the labels were made with, is not beside it"):
        read_labels(path)


def test_a_recipe_holds_the_content_and_not_the_path(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        write_catalog_file(folder / "skills.yaml", CatalogFile(CATALOG, {}))
    first, second = inlined("skills.yaml", one), inlined("skills.yaml", other)
    assert first["path"] != second["path"]
    assert {**first, "path": ""} == {**second, "path": ""}
    assert inlined(first, None) == first  # as a run folder holds it, where the file may be gone
    write_labels(other / "skills.yaml", LABELS, CatalogInfo(source="teacher", skills=CATALOG.skills))
    assert inlined("skills.yaml", other)["labels"] != first["labels"] == ""
    with pytest.raises(InputError, match=r"diagnose.catalog: mine.yaml is not there; `tutelage catalog RECIPE`"):
        inlined("mine.yaml", one)
    with pytest.raises(InputError, match="unknown key 'file'"):
        inlined({"file": "x"}, one)
    assert inlined("", one) == {}
