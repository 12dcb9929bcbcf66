"""`tutelage catalog` and runs with its file, through a real HTTP server: what is asked, and what is not asked again."""

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from lessons.demo.skills import generate
from lessons.errors import BudgetError, InputError
from lessons.jsonl import read_jsonl
from lessons.records import Problem
from lessons.skills import Skill
from loops.catalog.command import catalog
from loops.catalog.file import Label, read_catalog
from loops.catalog.stages import labels_of_run
from loops.costs.estimating import Range, estimate
from loops.reading import RunView
from loops.recipe import load
from loops.records import CatalogInfo
from loops.report import write_report
from loops.run import Run
from loops.store import read_record
from loops.views.catalog import catalog_view
from loops.views.gaps import gaps
from teachers.loopback import LoopbackServer, Seen
from teachers.prompts import missing_skills, skill_clusters, skill_labels, skill_names
from teachers.rule_tutor import RuleTutor
from teachers.totals import CallTotals

KINDS = {
    prompt.SYSTEM: name
    for name, prompt in (
        ("names", skill_names), ("clusters", skill_clusters), ("labels", skill_labels), ("missing", missing_skills)
    )
}  # fmt: skip
TAUGHT = ("carrying", "borrowing", "products", "units")
EACH = 8


class Endpoint:
    """A loopback server with a RuleTutor behind it, and what it was asked since the last look."""

    def __init__(self, server: LoopbackServer) -> None:
        self.server, self._seen = server, 0

    def asked(self) -> list[str]:
        """The kinds of the requests since the last look; "other" for those of a method."""
        new, self._seen = self.server.requests[self._seen :], len(self.server.requests)
        return sorted(KINDS.get(seen.body["messages"][0]["content"], "other") for seen in chats(new))


def chats(seen: list[Seen]) -> list[Seen]:
    return [one for one in seen if one.path.endswith("/chat/completions")]


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    with LoopbackServer(RuleTutor(error_rate=0.05, seed=3)) as server:
        monkeypatch.setenv("LOOPBACK_KEY", server.key)
        yield Endpoint(server)


@pytest.fixture
def recipe(endpoint: Endpoint, tmp_path: Path) -> Path:
    """A jsonl task without skills."""
    return written(tmp_path, endpoint, rows())


def rows(*, skills: bool = False) -> list[dict[str, Any]]:
    rng, found = Random(1), dict[str, dict[str, Any]]()
    for skill in TAUGHT:
        while sum(row["skill"] == skill for row in found.values()) < EACH:
            question, answer = generate(skill, rng)
            found[question] = {"question": question, "answer": str(answer), "skill": skill}
    made = list(found.values())
    rng.shuffle(made)
    return [
        {"question": row["question"], "answer": row["answer"], **({"skills": row["skill"]} if skills else {})}
        for row in made
    ]


def written(folder: Path, endpoint: Endpoint, lines: list[dict[str, Any]], **more: Any) -> Path:
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    server = endpoint.server
    data = {
        "task": {"id": "jsonl", "train": str(folder / "train.jsonl"), "held_out": 8, "graded_by": "numeric"},
        "student": {"model": "tiny", "answer": {"max_tokens": 8, "temperature": 1.0}, "adapter": {"rank": 2}},
        "teacher": {"kind": "openai", "model": server.model, "base_url": server.base_url, "key": "LOOPBACK_KEY"},
        "method": "rationale",
        "select": {"id": "profile", "budget": 4},
        "examine": {"per_round": 6, "noise": False},
        "train": {"epochs": 1},
        "gate": {"rule": "always"},
        "diagnose": {"skill_sample": 12, "agreement_sample": 10},
        **more,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def edit(path: Path, change) -> None:
    """Edit the catalogue as a person does, in the file's own text."""
    data = yaml.safe_load(path.read_text())
    change(data["skills"])
    path.write_text(yaml.safe_dump(data, sort_keys=False))


def entry(skills: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(skill for skill in skills if skill["name"] == name)


def carriers(path: Path, name: str) -> int:
    return sum(name in one.skills for one in read_jsonl(path.with_suffix(".labels.jsonl"), Label))


def test_an_edit_asks_only_for_what_it_touches(recipe: Path, endpoint: Endpoint, tmp_path: Path) -> None:
    path = tmp_path / "skills.yaml"
    total = EACH * len(TAUGHT)
    first = catalog(recipe)
    asked = endpoint.asked()
    assert first.path == str(path)
    assert [asked.count(kind) for kind in ("names", "clusters")] == [12, 1]
    assert asked.count("labels") >= total + 10  # and the repair turns of the tutor's errors
    assert set(TAUGHT) <= set(read_catalog(path).catalog.names)
    assert (first.info.source, first.info.sample, first.problems) == ("teacher", 12, total)
    assert first.info.labelled + first.info.unlabelled + first.info.lost == total
    assert first.info.agreement is not None
    assert first.info.agreement.n == 10
    assert sum(row.problems for row in first.skills) == first.info.labelled  # the tutor names one skill each

    again = catalog(recipe)
    assert endpoint.asked() == []
    assert (again.info.agreement, again.skills) == (first.info.agreement, first.skills)
    assert "nothing had to be asked" in again.text()

    def rename(skills: list[dict[str, Any]]) -> None:
        units = entry(skills, "units")
        units["name"], units["was"] = "unit conversion", "units"

    before = carriers(path, "units")
    edit(path, rename)
    renamed = catalog(recipe)
    assert endpoint.asked() == []
    assert carriers(path, "unit conversion") == before > 0
    assert carriers(path, "units") == 0
    assert renamed.changed == {}
    assert renamed.info.source == "file"  # a person's from now on
    assert renamed.info.agreement is not None
    assert renamed.info.agreement.kappa == pytest.approx(first.info.agreement.kappa)

    before = carriers(path, "carrying")
    edit(path, lambda skills: entry(skills, "carrying").update(description="Add, and carry the ten."))
    described = catalog(recipe)
    assert described.changed == {"'carrying' is described anew": before}
    assert described.labelled_now == before
    assert before <= endpoint.asked().count("labels") <= 4 * before  # twice for the sample, and repair turns

    before = carriers(path, "products")
    edit(path, lambda skills: skills.remove(entry(skills, "products")))
    taken = catalog(recipe)
    assert taken.changed == {"'products' was taken out": before}
    assert taken.labelled_now == before
    assert endpoint.asked().count("labels") >= before

    edit(path, lambda skills: skills.append({"name": "products", "description": "Multiply."}))
    lost = taken.info.lost
    added = catalog(recipe)
    assert sum(added.changed.values()) + lost == added.labelled_now == total
    assert set(added.changed) == {"'products' was added"}
    assert [one.skills for one in read_jsonl(tmp_path / "skills.labels.jsonl", Label)].count(("products",)) > 0


def test_what_is_shown(recipe: Path, tmp_path: Path) -> None:
    view = catalog(recipe, tmp_path / "mine.yaml")
    text = view.text()
    assert "skills in " in text
    assert "written by the teacher from 12 problems" in text
    for row in view.skills:
        assert row.name in text
    agreement = view.info.agreement
    assert agreement is not None
    assert f"kappa {agreement.kappa:.2f}" in text
    data = view.data()
    assert json.loads(json.dumps(data))["skills"][0]["problems"] == view.skills[0].problems
    assert data["flagged"] is False


def test_labels_that_do_not_hold_are_flagged(recipe: Path, endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.server.teacher = RuleTutor(error_rate=0.8, seed=5)  # four labels of five are drawn at random
    path = tmp_path / "skills.yaml"
    path.write_text(yaml.safe_dump({"skills": list(TAUGHT)}))
    view = catalog(recipe, changes=["diagnose.agreement_sample=32"])
    assert view.flagged
    assert view.info.agreement is not None
    assert view.info.agreement.kappa < 0.6
    assert "agree too little (Cohen's kappa" in view.note
    assert view.note in " ".join(view.text().split())
    run = tmp_path / "run"
    Run.start(load(recipe, ["diagnose.catalog=skills.yaml", "diagnose.agreement_sample=32"]), run).to_the_end()
    told = RunView.open(run)
    assert told.info is not None
    assert view.note in told.info.notes
    assert told.catalog_info is not None
    assert told.catalog_info.flagged
    assert told.catalog_info.agreement == view.info.agreement
    shown = gaps(run)
    assert shown.labels_note == view.note
    assert view.note in " ".join(shown.text().split())
    assert f"kappa {view.info.agreement.kappa:.2f}" in shown.labels
    page = write_report(run).read_text(encoding="utf-8")
    assert escape(view.note).replace("&#x27;", "&#39;") in page


def test_a_run_takes_the_file_and_its_labels_and_pays_nothing_for_them(
    recipe: Path, endpoint: Endpoint, tmp_path: Path
) -> None:
    path = tmp_path / "skills.yaml"
    view = catalog(recipe)
    labels = {one.problem: one.skills for one in read_jsonl(tmp_path / "skills.labels.jsonl", Label)}
    endpoint.asked()
    run = tmp_path / "run"
    changes = ["diagnose.catalog=skills.yaml"]
    Run.start(load(recipe, changes), run).to_the_end()
    asked = endpoint.asked()
    lost = view.info.lost
    assert asked.count("names") == asked.count("clusters") == 0
    assert asked.count("labels") <= 4 * lost  # only what had no label, twice, and repair turns
    told = read_record(run / "catalog.json", CatalogInfo)
    assert told is not None
    assert (told.source, told.kept) == ("file", len(labels))
    assert read_catalog(run / "catalog.yaml").catalog == read_catalog(path).catalog
    told_labels = {one.problem: one.skills for one in read_jsonl(run / "catalog.labels.jsonl", Label)}
    assert {key: told_labels[key] for key in labels} == labels
    profile = RunView.open(run).rounds[1].profile
    assert profile is not None
    assert set(profile.rows) <= set(read_catalog(path).catalog.names)

    # the content counts, and not the path
    (tmp_path / "elsewhere").mkdir()
    for name in ("skills.yaml", "skills.json", "skills.labels.jsonl"):
        (tmp_path / "elsewhere" / name).write_bytes((tmp_path / name).read_bytes())
    moved = load(recipe, ["diagnose.catalog=elsewhere/skills.yaml"])
    assert moved.digest == load(recipe, changes).digest
    assert len(Run.start(moved, run).to_the_end()) == 2
    edit(path, lambda skills: entry(skills, "carrying").update(description="Other."))
    assert load(recipe, changes).digest != moved.digest
    with pytest.raises(InputError, match=r"differs in diagnose.catalog.skills"):
        Run.start(load(recipe, changes), run)
    path.unlink()
    assert len(Run.resume(run).to_the_end()) == 2  # the run has its own copy
    assert endpoint.asked() == []


def test_a_run_without_a_file_writes_its_own(recipe: Path, endpoint: Endpoint, tmp_path: Path) -> None:
    said: list[str] = []
    run = tmp_path / "run"
    started = Run.start(load(recipe), run)
    started.work.listener.line = said.append  # type: ignore[method-assign]
    started.to_the_end()
    asked = endpoint.asked()
    assert asked.count("names") == 12
    assert asked.count("clusters") == 1
    info = RunView.open(run).catalog_info
    assert info is not None
    assert (info.source, info.sample, info.given) == ("teacher", 12, 0)
    assert info.labelled + info.unlabelled + info.lost == EACH * len(TAUGHT)
    assert any(line.startswith("  skills ") and "kappa" in line for line in said)
    labels = {one.problem: one.skills for one in read_jsonl(run / "catalog.labels.jsonl", Label)}
    attempts = list(RunView.open(run).rounds[1].attempts())
    assert attempts
    assert all(one.problem.skills == labels.get(one.problem.id, ()) for one in attempts)
    listed = set(read_catalog(run / "catalog.yaml").catalog.names)
    assert all(set(one.missing) <= listed for one in attempts)
    # what the run wrote can be taken for another, and nothing of it is asked again
    view = catalog(recipe, run / "catalog.yaml")
    assert view.info.kept == len(labels)
    assert endpoint.asked().count("names") == 0


def test_skills_that_the_user_gives_cost_no_call_at_all(endpoint: Endpoint, tmp_path: Path) -> None:
    recipe = written(tmp_path, endpoint, rows(skills=True), diagnose={"by": "needed"})
    view = catalog(recipe)
    assert endpoint.asked() == []
    assert (view.info.source, view.info.given) == ("task", EACH * len(TAUGHT))
    assert {row.name: row.problems for row in view.skills} == dict.fromkeys(TAUGHT, EACH)
    assert not (tmp_path / "skills.calls.sqlite").exists()
    Run.start(load(recipe), tmp_path / "run").to_the_end()
    assert set(endpoint.asked()) <= {"other"}  # the method's own
    info = RunView.open(tmp_path / "run").catalog_info
    assert info is not None
    assert (info.source, info.given, info.agreement, info.teacher) == ("task", EACH * len(TAUGHT), None, "")
    edit(tmp_path / "skills.yaml", lambda skills: skills.pop())
    with pytest.raises(InputError, match=r"has no skill .*which the problem at train.jsonl:\d+ brings along"):
        Run.start(load(recipe, ["diagnose.catalog=skills.yaml"]), tmp_path / "other").to_the_end()


def test_a_cap_stops_the_command_and_what_is_paid_for_is_kept(recipe: Path, endpoint: Endpoint) -> None:
    with pytest.raises(BudgetError, match="what is paid for is kept"):
        catalog(recipe, changes=["budget.requests=20"])
    assert len(endpoint.asked()) == 20
    view = catalog(recipe)
    asked = endpoint.asked()
    assert asked.count("names") == 0
    assert asked.count("clusters") == 0
    assert view.calls.kept >= 7


def test_a_recipe_may_name_a_file_that_is_still_to_be_written(endpoint: Endpoint, tmp_path: Path) -> None:
    recipe = written(tmp_path, endpoint, rows(), diagnose={"catalog": "my.yaml", "skill_sample": 4})
    with pytest.raises(InputError, match=r"my.yaml is not there; `tutelage catalog RECIPE` writes it"):
        load(recipe)
    assert catalog(recipe, changes=["diagnose.agreement_sample=0"]).path == str(tmp_path / "my.yaml")
    assert load(recipe).diagnose.catalog
    with pytest.raises(InputError, match="must end in .yaml"):
        catalog(recipe, tmp_path / "skills.txt")


def test_labels_that_were_changed_under_a_run_that_has_not_read_them(recipe: Path, tmp_path: Path) -> None:
    catalog(recipe)
    started = Run.start(load(recipe, ["diagnose.catalog=skills.yaml"]), tmp_path / "run")
    labels = tmp_path / "skills.labels.jsonl"
    labels.write_bytes(b"".join(labels.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(InputError, match="are others than when the run was started"):
        started.to_the_end()


def test_an_estimate_asks_for_no_label_that_stands(recipe: Path, endpoint: Endpoint, tmp_path: Path) -> None:
    bare = {row.prompt for row in estimate(load(recipe)).rows}
    assert {"skill_names", "skill_clusters", "skill_labels"} <= bare
    view = catalog(recipe)
    endpoint.asked()
    told = {row.prompt: row.requests for row in estimate(load(recipe, ["diagnose.catalog=skills.yaml"])).rows}
    assert not {"skill_names", "skill_clusters"} & set(told)
    assert told.get("skill_labels", Range(0, 0)).high <= 2 * view.info.lost
    assert endpoint.asked() == []


def test_labels_of_an_older_run_are_read(tmp_path: Path) -> None:
    (tmp_path / "rounds" / "00").mkdir(parents=True)
    (tmp_path / "rounds" / "00" / "labels.yaml").write_text("abc:\n- carrying\n- units\ndef: []\n")
    assert labels_of_run(tmp_path) == {"abc": ("carrying", "units"), "def": ()}


def test_what_a_model_wrote_cannot_steer_the_terminal() -> None:
    name, question = "red \x1b[31m[bold]", "evil \u202e\x07 <script>?"
    problem = Problem(question=question)
    labels = {problem.id: Label(problem=problem.id, skills=(name,))}
    info = CatalogInfo(source="teacher", skills=(Skill(name=name),), labelled=1)
    ask = {problem.id: f"{name!r} was added"}
    view = catalog_view(Path("skills.yaml"), info, [problem], labels, ask=ask, totals=CallTotals(asked=1), asked=1)
    text = view.text()
    assert not {"\x1b", "\u202e", "\x07"} & set(text)
    assert "red ⟨ESC⟩[31m[bold]" in text
    assert "evil ⟨U+202E⟩⟨U+0007⟩ <script>?" in text
