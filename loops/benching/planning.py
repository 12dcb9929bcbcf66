"""What a bench runs: every recipe with every seed, made equal in what it may take."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from lessons.errors import InputError
from lessons.ids import ID_LENGTH, digest
from lessons.records import Record
from loops.recipe import Recipe, load

Equal = Literal["teacher_tokens", "lessons", "cost"]
"""What is the same for all arms: tokens of the teacher, new and replayed lessons of a round, or dollars."""

EQUALS: tuple[Equal, ...] = get_args(Equal)
CAPS: Mapping[Equal, str] = {"teacher_tokens": "tokens", "cost": "usd"}
"""The cap of the budget that makes arms equal; lessons are made equal by the selector's budget."""


class Arm(NamedTuple):
    """One recipe of a bench."""

    name: str
    path: Path
    changes: tuple[str, ...]
    """Settings such as `method.target=uniform` that stand in the place of the file's own."""

    def recipe(self, seed: int, more: Iterable[str] = ()) -> Recipe:
        """Return its recipe for a seed; all seeds have one split of the problems, that of the file's own seed.

        Raises:
            InputError: the recipe is wrong.
        """
        own = load(self.path, self.changes)
        split = own.seed if own.split_seed is None else own.split_seed
        return load(self.path, (*self.changes, f"seed={seed}", f"split_seed={split}", *more))


class Bench(Record, frozen=True, kw_only=True):
    """`bench.json`: what a bench is. The same command goes on with it; another one is refused."""

    arms: dict[str, dict[str, Any]]
    """Name -> the whole recipe, without its seed."""
    seeds: tuple[int, ...]
    equal: Equal | None
    amount: float | None
    """Teacher tokens, lessons or dollars; None: what the first arm takes with the same seed."""


def arms_of(recipes: Sequence[Path], variants: Sequence[str]) -> list[Arm]:
    """Return the arms: one for each recipe file, then the variants of the first.

    Args:
        recipes: files; an arm is called by its file's name.
        variants: such as `uniform:method.target=uniform,select.replay=0`.

    Raises:
        InputError: two arms have one name, or a variant is not written so.
    """
    arms = [Arm(path.stem, path, ()) for path in recipes]
    for variant in variants:
        name, colon, changes = variant.partition(":")
        if not name or not colon or not all("=" in change for change in changes.split(",")):
            raise InputError(f"--arm {variant}: expected NAME:KEY=VALUE, or NAME:KEY=VALUE,KEY=VALUE")
        arms.append(Arm(name, recipes[0], tuple(changes.split(","))))
    names = [arm.name for arm in arms]
    for name in names:
        if names.count(name) > 1 or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise InputError(f"arm {name!r}: two arms have this name, or it is no plain name; letters, digits, - _ .")
    return arms


def bench_of(arms: Sequence[Arm], seeds: int, equal: Equal | None, amount: float | None) -> Bench:
    """Return what a bench is, once every recipe was read.

    Raises:
        InputError: a recipe is wrong, an amount is asked for without saying of what, or the arms' exams differ.
    """
    if amount is not None and (equal is None or amount <= 0):
        raise InputError("--amount: a number above 0, of what --equal names")
    if seeds < 1:
        raise InputError(f"--seeds: at least 1, got {seeds}")
    if equal == "lessons" and amount is None:
        raise InputError("--equal lessons: say how many with --amount, such as --amount 200")
    recipes = {arm.name: arm.recipe(0) for arm in arms}
    first = next(iter(recipes.values()))
    for name, recipe in recipes.items():
        for key in ("task", "student"):
            if recipe.plain()[key] != first.plain()[key]:
                raise InputError(
                    f"arm {name!r}: its {key} is not that of {arms[0].name!r}: arms begin with one student and sit "
                    "one exam"
                )
    plain = {name: {k: v for k, v in recipe.lasting().items() if k != "seed"} for name, recipe in recipes.items()}
    return Bench(arms=plain, seeds=tuple(range(seeds)), equal=equal, amount=amount)


def equalised(equal: Equal | None, amount: float | None) -> list[str]:
    """Return the settings that make an arm take no more than an amount; none where nothing is to be equal."""
    if equal is None or amount is None:
        return []
    if equal == "lessons":
        return [f"select.budget={int(amount)}"]
    written = f"{amount:g}" if equal == "cost" else str(int(amount))
    return [f"budget.{CAPS[equal]}={written}", "budget.at_cap=finish"]


FIRST = ("task", "student", "teacher", "train", "examine", "diagnose", "seed", "split_seed")
"""Keys of a recipe that decide all that comes before the first lesson of round 1 is written."""


def stem_of(recipe: Recipe) -> str:
    """Return the content id of what comes before the first lesson; arms with one id share that work."""
    lasting = recipe.lasting()
    return digest({key: lasting.get(key) for key in FIRST})[:ID_LENGTH]


def same(one: Bench, other: Bench) -> bool:
    """Whether two benches are one, but for how many seeds they have."""
    return msgspec.structs.replace(one, seeds=()) == msgspec.structs.replace(other, seeds=())
