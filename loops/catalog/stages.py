"""The catalogue of a run: whose list it is, which labels stand already, what is asked; frozen in the run folder."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from lessons.agreement import kappa
from lessons.errors import InputError
from lessons.records import Problem
from lessons.skills import SkillCatalog
from loops.catalog.file import (
    FROZEN,
    CatalogFile,
    Label,
    catalog_of,
    info_path,
    labels_digest,
    labels_path,
    read_labels,
    write_catalog_file,
    write_labels,
)
from loops.catalog.relabelling import relabelled
from loops.catalog.writing import check_own_skills, joined, label, planned, write_catalog
from loops.recipe import Recipe
from loops.records import CatalogInfo
from loops.store import read_record, read_yaml, write_record
from loops.tasks.base import Task
from loops.work import PARTS, Work
from teachers.prompts.skill_clusters import SKILL_CLUSTERS
from teachers.prompts.skill_labels import skill_labels
from teachers.prompts.skill_names import SKILL_NAMES


class Given(NamedTuple):
    """A catalogue that no teacher has to write, with the labels that hold under it."""

    catalog: SkillCatalog
    source: Literal["file", "task"]
    labels: dict[str, Label]
    ask: dict[str, str]
    """Problem id -> why its label does not hold any more."""


def catalogue(work: Work) -> None:
    """Write the run's catalogue, and label the problems that brought no skills, once."""
    path = work.folder.path / "catalog.yaml"

    def do_catalog(_: Path, counts: Counter[str]) -> None:
        if path.exists() and not info_path(path).exists():
            return  # a run of an older version wrote it while it froze its problems, and said nothing of how
        train = work.read_problems("train")
        given = given_catalog(work.recipe, work.task, (*train, *work.read_problems("pool")))
        if given is not None:
            catalog, info = given.catalog, CatalogInfo(source=given.source)
        else:
            made = work.asking(
                "skills",
                counts,
                lambda caller: write_catalog(train, caller, work.recipe.diagnose.skill_sample, work.rng(0, "catalog")),
                prefix="catalog",
            )
            catalog = made.catalog
            info = CatalogInfo(source="teacher", sample=made.sample, names=made.names, cut=made.cut)
        write_record(info_path(path), info)
        write_catalog_file(path, CatalogFile(catalog, {}), FROZEN)

    def do_label(_: Path, counts: Counter[str]) -> None:
        info = read_record(info_path(path), CatalogInfo) or CatalogInfo(source="file")
        problems = [problem for part in PARTS for problem in work.read_problems(part)]
        known: dict[str, Label] = {}
        if info.source == "file":
            check_own_skills(problems, work.catalog)
            given = given_catalog(work.recipe, work.task, ())
            known = given.labels if given else {}
        labels = labels_of_problems(work, problems, known, counts)
        asked = work.teacher.name if info.source == "teacher" or labels != known else ""
        write_labels(path, labels, described(info, work.catalog, problems, labels, known, asked))

    work.once(0, "catalog", (), do_catalog)
    work.once(0, "label", (), do_label)
    work.labels = {key: list(names) for key, names in labels_of_run(work.folder.path).items()}


def labels_of_problems(
    work: Work, problems: Sequence[Problem], known: Mapping[str, Label], counts: Counter[str]
) -> dict[str, Label]:
    """Ask the teacher for what `known` labels leave open; where that is nothing, nobody is asked."""
    settings, catalog = work.recipe.diagnose, work.catalog
    plan = planned(problems, catalog, known, settings.agreement_sample, work.recipe.seed)
    if not plan.first and not plan.second:
        return dict(known)
    made = work.asking(
        "label",
        counts,
        lambda caller: label(plan, caller, catalog, counts, by=work.teacher.name, max_lost=work.recipe.calls.max_lost),
        prefix="label",
    )
    return joined(known, made)


def given_catalog(recipe: Recipe, task: Task, problems: Sequence[Problem]) -> Given | None:
    """Return the catalogue of the recipe, else the task's own; None where the teacher has to write it.

    Args:
        recipe: with `diagnose.catalog`, or without.
        task: the recipe's.
        problems: those that the task's catalogue is of.

    Raises:
        InputError: the labels beside the file are not those that the recipe was read with, or do not fit it.
    """
    told = recipe.diagnose.catalog
    if isinstance(told, str) or not told:  # a path was read when the recipe was; "" names none
        own = task.catalog(problems)
        return Given(own, "task", {}, {}) if own.skills else None
    file = catalog_of(told["skills"], "diagnose.catalog")
    path = Path(str(told["path"])) if told.get("path") else None
    stored = read_labels(path) if path else None
    labels = stored.labels if stored else {}
    if labels_digest(labels) != told.get("labels", ""):
        raise InputError(
            f"diagnose.catalog: the labels beside {path} are others than when the run was started; start it anew"
        )
    if stored is None or stored.info is None:
        return Given(file.catalog, "file", {}, {})
    after = relabelled(SkillCatalog(skills=stored.info.skills), file, labels)
    return Given(file.catalog, "file", after.stay, after.ask)


def described(
    info: CatalogInfo,
    catalog: SkillCatalog,
    problems: Iterable[Problem],
    labels: Mapping[str, Label],
    known: Mapping[str, Label],
    teacher: str,
) -> CatalogInfo:
    """Return what is known of a catalogue once its problems are labelled, with the agreement of the two passes.

    Args:
        info: who gave the list.
        catalog: the list.
        problems: every problem of the task.
        labels: problem id -> label.
        known: those of them that were not asked for now.
        teacher: who was asked; "" where nobody was.
    """
    unique = {problem.id: problem for problem in problems}
    bare = [key for key, problem in unique.items() if not problem.skills]
    have = {key: labels[key] for key in bare if key in labels}
    twice = {key: one for key, one in have.items() if one.again is not None}
    agreement = kappa(
        {key: one.skills for key, one in twice.items()},
        {key: one.again or () for key, one in twice.items()},
        catalog.names,
        listed={key: [skill.name for skill in catalog.of_subject(one.subject)] for key, one in twice.items()},
    )
    return msgspec.structs.replace(
        info,
        teacher=teacher or info.teacher,
        prompts={
            SKILL_NAMES.name: SKILL_NAMES.version,
            SKILL_CLUSTERS.name: SKILL_CLUSTERS.version,
            "skill_labels": skill_labels(SkillCatalog(skills=())).version,
        },
        skills=catalog.skills,
        given=len(unique) - len(bare),
        labelled=sum(bool(one.skills) for one in have.values()),
        unlabelled=sum(not one.skills for one in have.values()),
        lost=len(bare) - len(have),
        kept=sum(key in known for key in have),
        agreement=agreement if twice else None,
    )


def labels_of_run(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return problem id -> skills, as a run folder holds them."""
    path = folder / "catalog.yaml"
    if not labels_path(path).exists():  # a run of an older version
        return {key: tuple(names) for key, names in read_yaml(folder / "rounds" / "00" / "labels.yaml").items()}
    return {key: one.skills for key, one in read_labels(path).labels.items()}


def catalog_note(work: Work) -> str:
    """Return what a reader of the run's figures must know of its labels; "" where there is nothing."""
    info = read_record(info_path(work.folder.path / "catalog.yaml"), CatalogInfo)
    return info.note if info else ""
