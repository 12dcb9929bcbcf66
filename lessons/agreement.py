"""How well two passes of labels agree beyond chance: Cohen's kappa, for labels that are sets of skills."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from lessons.bootstrap import blocks
from lessons.records import Record
from lessons.statistics import wilson
from lessons.timing import inside

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RELIABLE = 0.6
"""Kappa from which a catalogue is taken for reliable; "substantial" begins at 0.61 (Landis and Koch 1977)."""


class Agreement(Record, frozen=True, kw_only=True):
    """How well two passes of labels agree. A decision is one problem and one skill of its list: named, or not."""

    n: int
    """Problems that both passes labelled."""
    observed: float
    """Share of the decisions that are the same in both passes, in [0, 1]."""
    expected: float
    """What that share would be by chance: each skill named at random as often as each pass names it, in [0, 1]."""
    kappa: float | None
    """(observed - expected) / (1 - expected), at most 1; None where chance alone agrees on everything."""
    low: float
    high: float
    """95 % interval of kappa by bootstrap over problems; [-1, 1] where kappa is None."""
    same: float = 0.0
    """Share of the problems with exactly the same skills in both passes, in [0, 1]."""
    per_skill: dict[str, float | None] = msgspec.field(default_factory=dict[str, float | None])
    """Skill -> kappa of its own decisions; None where neither pass, or each pass always, named it."""

    @property
    def reliable(self) -> bool:
        """Whether kappa is at least 0.6."""
        return self.kappa is not None and self.kappa >= RELIABLE

    def worst(self, k: int) -> list[str]:
        """Return the k skills that the passes agree on least, worst first; those without a kappa are left out."""
        known = {name: value for name, value in self.per_skill.items() if value is not None}
        return sorted(known, key=lambda name: (known[name], name))[:k]


def kappa(
    first: Mapping[str, Sequence[str]],
    second: Mapping[str, Sequence[str]],
    skills: Sequence[str],
    *,
    listed: Mapping[str, Sequence[str]] | None = None,
) -> Agreement:
    """Return how well two passes agree on which skills each problem needs (Cohen 1960).

    The yes-or-no decisions of all problems and skills are pooled; chance is reckoned skill by skill, from how often
    each pass names that skill. Where every problem has exactly one skill in both passes, this is Cohen's own kappa of
    the categories: with q categories, both shares of differing decisions are 2/q of his, and the factor falls out.

    Args:
        first: problem id -> names, of one pass.
        second: the same of the other. A problem that only one pass has is left out.
        skills: the closed list; names outside it are left out.
        listed: problem id -> the names of its subject, where a problem is asked for those only; else it is asked for
            all `skills`.
    """
    with inside("load"):
        import numpy as np

    names = tuple(dict.fromkeys(skills))
    ids = [problem for problem in first if problem in second]
    nothing = Agreement(
        n=len(ids), observed=0.0, expected=0.0, kappa=None, low=-1.0, high=1.0, per_skill=dict.fromkeys(names)
    )
    if not ids or not names:
        return nothing
    asked = np.ones((len(ids), len(names)))
    if listed is not None:
        asked = _table(ids, listed, names)
    one, two = _table(ids, first, names) * asked, _table(ids, second, names) * asked
    if not asked.any():
        return nothing
    differing, by_chance, decisions = _sums(np.ones((1, len(ids))), one, two, asked)  # [1][skill] each
    found = _kappas(differing.sum(axis=1), by_chance.sum(axis=1))[0]
    per_skill = _kappas(differing[0], by_chance[0])
    alike = int((one == two).all(axis=1).sum())
    low, high = _interval(one, two, asked, alike) if not np.isnan(found) else (-1.0, 1.0)
    return Agreement(
        n=len(ids),
        observed=float(1 - differing.sum() / decisions.sum()),
        expected=float(1 - by_chance.sum() / decisions.sum()),
        kappa=None if np.isnan(found) else float(found),
        low=low,
        high=high,
        same=alike / len(ids),
        per_skill={name: None if np.isnan(k) else float(k) for name, k in zip(names, per_skill, strict=True)},
    )


def _table(ids: Sequence[str], labels: Mapping[str, Sequence[str]], names: Sequence[str]) -> "NDArray[np.float64]":
    """Return [problem][skill]: 1 where the problem has the name, else 0."""
    import numpy as np

    places = {name: place for place, name in enumerate(names)}
    table = np.zeros((len(ids), len(names)))
    for row, problem in enumerate(ids):
        for name in labels.get(problem, ()):
            if name in places:
                table[row, places[name]] = 1.0
    return table


def _sums(
    weights: "NDArray[np.float64]",
    one: "NDArray[np.float64]",
    two: "NDArray[np.float64]",
    asked: "NDArray[np.float64]",
) -> "tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]":
    """Return decisions that differ, that would differ by chance, and all of them: [resample][skill] each."""
    import numpy as np

    differing, decisions = weights @ np.abs(one - two), weights @ asked
    yes, also = weights @ one, weights @ two
    by_chance = (yes * (decisions - also) + also * (decisions - yes)) / np.maximum(decisions, 1.0)
    return differing, by_chance, decisions


def _kappas(differing: "NDArray[np.float64]", by_chance: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return 1 - differing / by_chance; not a number where nothing can differ by chance."""
    import numpy as np

    found = np.full(differing.shape, np.nan)
    return 1 - np.divide(differing, by_chance, out=found, where=by_chance > 0)


def _interval(
    one: "NDArray[np.float64]", two: "NDArray[np.float64]", asked: "NDArray[np.float64]", alike: int
) -> tuple[float, float]:
    import numpy as np

    problems = len(one)
    if alike == problems:
        # No resample differs from another, and a point would promise too much of a few problems. By Wilson's interval
        # this share at least is alike; the rest is taken to be named by chance, with a kappa of 0.
        return wilson(problems, problems).low, 1.0
    drawn: list[NDArray[np.float64]] = []
    for weights in blocks(problems):
        differing, by_chance, _ = _sums(weights, one, two, asked)
        drawn.append(_kappas(differing.sum(axis=1), by_chance.sum(axis=1)))
    low, high = np.nanquantile(np.concatenate(drawn), (0.025, 0.975))
    return float(low), float(high)
