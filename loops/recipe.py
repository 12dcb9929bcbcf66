"""The recipe: one YAML file that says what a run is. Every key has one meaning; every error names its key."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import msgspec

from lessons.errors import InputError
from lessons.ids import ID_LENGTH, digest
from lessons.plain_yaml import read_yaml_file
from loops import plugins
from loops.changing import DEFAULTS, changed
from loops.fitting import check_method, fitting_grader, unverifiable
from loops.knobs import nearest, operational_keys, without
from loops.orders.base import Order
from loops.settings import (
    CallSettings,
    DiagnoseSettings,
    ExamineSettings,
    GateSettings,
    PreflightSettings,
    StallSettings,
    StudentSettings,
    TrackingSettings,
)
from loops.tasks.base import Task
from students.base import Training
from teachers.base import Teacher
from teachers.budget import Caps
from teachers.secrets import without_keys


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole recipe, with every default filled in."""

    task: dict[str, Any]
    student: StudentSettings
    teacher: dict[str, Any]
    method: dict[str, Any]
    filters: tuple[dict[str, Any], ...]
    select: dict[str, Any]
    order: dict[str, Any]
    train: Training
    calls: CallSettings
    examine: ExamineSettings
    diagnose: DiagnoseSettings
    preflight: PreflightSettings
    gate: GateSettings
    budget: Caps
    tracking: TrackingSettings
    stalls: StallSettings
    rounds: int
    seed: int
    split_seed: int | None = None
    """Seed of the split into train and held-out problems; None: the recipe's own."""
    operational: frozenset[str] = frozenset()
    """Dotted keys that change how the work is done and never what comes of it; a run goes on under other values."""
    folder: Path | None = None
    """Where the recipe's file lies: plug-ins of the user's own are looked for there. Not part of the digest."""

    def plain(self) -> dict[str, Any]:
        """Return the recipe as plain data, in the order and form in which a user writes it."""
        train = {k: v for k, v in plugins.values_of(self.train).items() if k not in _ELSEWHERE}
        return {
            "task": self.task,
            "student": plugins.values_of(self.student),
            "teacher": self.teacher,
            "method": self.method,
            "filters": list(self.filters),
            "select": self.select,
            "order": self.order,
            "train": train,
            "calls": plugins.values_of(self.calls),
            "examine": plugins.values_of(self.examine),
            "diagnose": plugins.values_of(self.diagnose),
            "preflight": plugins.values_of(self.preflight),
            "gate": plugins.values_of(self.gate),
            "budget": plugins.values_of(self.budget),
            "tracking": plugins.values_of(self.tracking),
            "stalls": plugins.values_of(self.stalls),
            "rounds": self.rounds,
            "seed": self.seed,
            "split_seed": self.split_seed,
        }

    @property
    def digest(self) -> str:
        """Content id of everything that the results depend on."""
        return digest(self.lasting())[:ID_LENGTH]

    def lasting(self) -> dict[str, Any]:
        """Return the recipe as plain data, without what may change while a run goes on."""
        return without(self.plain(), self.operational)

    @property
    def of_split(self) -> int:
        """Seed of the split."""
        return self.seed if self.split_seed is None else self.split_seed

    @property
    def training(self) -> Training:
        """How the student is trained, the order of its lessons included."""
        shuffles = cast(Order, self.make("order", self.order, "order")).shuffles
        return msgspec.structs.replace(self.train, order="shuffled" if shuffles else "sequential")

    def make_task(self) -> Task:
        """Make the task."""
        return cast(Task, plugins.build("task", self.task, where="task", folder=self.folder))

    def make_teacher(self) -> Teacher:
        """Make the teacher."""
        return cast(Teacher, plugins.build("teacher", self.teacher, where="teacher", folder=self.folder, key="kind"))

    def make(self, family: str, spec: Mapping[str, Any], where: str) -> Any:
        """Make one of the recipe's other plug-ins."""
        return plugins.build(family, spec, where=where, folder=self.folder)


_ADAPTER_KEYS = ("rank", "alpha", "dropout")
_ELSEWHERE = {**dict.fromkeys(_ADAPTER_KEYS, "a key of student.adapter"), "order": "a plug-in: write order: sequential"}
"""Keys of `Training` that a recipe writes elsewhere."""
_KEYS = (
    "task", "student", "teacher", "method", "filters", "select", "order", "train", "calls", "examine", "diagnose",
    "preflight", "gate", "budget", "tracking", "stalls", "rounds", "seed", "split_seed",
)  # fmt: skip
_REQUIRED = ("task", "student", "teacher", "method")
DEFAULT_FILTERS = ("format", "duplicate", "verified")


def load(path: Path, changes: Iterable[str] = ()) -> Recipe:
    """Read a recipe file; `changes` are settings such as `rounds=3` or `method.new=4` that replace the file's own.

    Raises:
        InputError: the file cannot be read, is no YAML, or a key or value is wrong; one line that names the key.
    """
    data = read_yaml_file(path)
    try:
        for change in changes:
            data = changed(data, change)
        return resolve(data, folder=path.resolve().parent)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def resolve(data: Any, *, folder: Path | None = None) -> Recipe:
    """Check a recipe and fill in every default; makes each plug-in once, so that a wrong knob shows now.

    Raises:
        InputError: a key is unknown or missing, or a value is wrong; names the key and the nearest known ones. What
            looks like an API key is not repeated, wherever it was written by mistake.
    """
    try:
        return _checked(data, folder)
    except InputError as error:
        words = without_keys(str(error))
        if words == str(error):
            raise
    raise InputError(words)  # outside of the handler, so that no cause with a key hangs on it


def _checked(data: Any, folder: Path | None) -> Recipe:
    plugins.import_from(folder)
    if not isinstance(data, Mapping):
        raise InputError("a recipe is a mapping with the keys task, student, teacher, method")
    given = {str(key): value for key, value in cast(Mapping[Any, Any], data).items()}
    for key in given:
        if key not in _KEYS:
            raise InputError(f"unknown key {key!r}; {nearest(key, _KEYS)}")
    for key in _REQUIRED:
        if key not in given:
            raise InputError(f"{key!r} must be given")
    student_given = given["student"]
    student: StudentSettings = plugins.make(
        StudentSettings, {"model": student_given} if isinstance(student_given, str) else student_given, where="student"
    )
    train_given = dict(_mapping(given, "train"))
    for key, where in _ELSEWHERE.items():
        if key in train_given:
            raise InputError(f"train: {key!r} is {where}")
    training = plugins.make(Training, {**train_given, **plugins.values_of(student.adapter)}, where="train")
    if training.accelerate:
        from students.apart.launching import read_settings

        training = read_settings(training, folder)
    method = _resolved("method", given["method"], "method", folder)
    fitting = [name for name in DEFAULT_FILTERS if name != "verified" or not unverifiable(method, folder)]
    filters_given = given.get("filters", fitting)
    if not isinstance(filters_given, list | tuple):
        raise InputError(f"filters: expected a list, got {filters_given!r}")
    calls = plugins.make(CallSettings, _mapping(given, "calls"), where="calls")
    diagnose = plugins.make(DiagnoseSettings, _mapping(given, "diagnose"), where="diagnose", folder=folder)
    teacher, of_teacher = _made("teacher", given["teacher"], "teacher", folder, key="kind")
    task = _resolved("task", given["task"], "task", folder)
    examine = plugins.make(ExamineSettings, _mapping(given, "examine"), where="examine")
    filters = tuple(
        _resolved("filter", spec, f"filters[{index}]", folder)
        for index, spec in enumerate(cast(list[Any], filters_given))
    )
    check_method(method, filters, folder)
    of_grader = fitting_grader(task, method, filters, examine.samples, folder)
    return Recipe(
        task=task,
        student=student,
        teacher=teacher,
        method=method,
        filters=filters,
        select=_resolved("selector", given.get("select", DEFAULTS["select"]), "select", folder),
        order=_resolved("order", given.get("order", DEFAULTS["order"]), "order", folder),
        train=training,
        calls=calls,
        examine=examine,
        diagnose=_with_catalog(diagnose, folder),
        preflight=plugins.make(PreflightSettings, _mapping(given, "preflight"), where="preflight"),
        gate=plugins.make(GateSettings, _mapping(given, "gate"), where="gate"),
        budget=plugins.make(Caps, _mapping(given, "budget"), where="budget"),
        tracking=plugins.make(TrackingSettings, _mapping(given, "tracking"), where="tracking"),
        stalls=plugins.make(StallSettings, _mapping(given, "stalls"), where="stalls"),
        rounds=_whole(given, "rounds", default=1, least=1),
        seed=_whole(given, "seed", default=0, least=0),
        split_seed=None if given.get("split_seed") is None else _whole(given, "split_seed", default=0, least=0),
        operational=frozenset(
            (
                "budget",
                "tracking",
                "preflight",
                "stalls",
                "diagnose.catalog.path",
                *operational_keys(student, "student."),
                *(f"train.{name}" for name in Training.OPERATIONAL),
                *of_teacher,
                *operational_keys(calls, "calls."),
                *operational_keys(diagnose, "diagnose."),
                *of_grader,
            )
        ),
        folder=folder,
    )


def _with_catalog(settings: DiagnoseSettings, folder: Path | None) -> DiagnoseSettings:
    """Return the settings with the catalogue's content in place of its path: that is what results depend on."""
    from loops.catalog.file import inlined

    return replace(settings, catalog=inlined(settings.catalog, folder)) if settings.catalog else settings


def _resolved(family: str, spec: Any, where: str, folder: Path | None) -> dict[str, Any]:
    return _made(family, spec, where, folder, key="id")[0]


def _made(
    family: str, spec: Any, where: str, folder: Path | None, *, key: str
) -> tuple[dict[str, Any], list[str]]:  # (id and knobs, dotted operational keys)
    """Return a plug-in's id with all its knobs, defaults included, and which of them results do not depend on."""
    made = plugins.build(family, spec, where=where, folder=folder, key=key)
    name, knobs = plugins.split_spec(spec, where=where, key=key)
    if plugins.is_plugin_argument(family, name):
        name = name.partition(":")[0]
    return {key: name, **knobs, **plugins.values_of(made)}, operational_keys(made, f"{where}.")


def _mapping(given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = given.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(f"{key}: expected a mapping of keys, got {value!r}")
    return cast(Mapping[str, Any], value)


def _whole(given: Mapping[str, Any], key: str, *, default: int, least: int) -> int:
    value = given.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{key}: expected a whole number of at least {least}, got {value!r}")
    return value
