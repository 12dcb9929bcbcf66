"""One trial: a run is struck, gone on with until it is done, and held against the undisturbed run."""

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from chaotic import comparing, faults
from chaotic.faults import FILE_FAULTS, SIGNALS, Plan
from chaotic.recipes import IN_FLIGHT, write_recipe
from chaotic.warm import Ended, Nursery
from teachers.loopback import LoopbackServer

TRIES = 6
"""Draws of a moment, each earlier than the one before, until a fault strikes before the run has ended."""
SECOND = 0.2
"""Share of the trials in which the process that goes on is killed too."""
BETWEEN = 0.05
"""Seconds between two signals."""


class Undisturbed(NamedTuple):
    """A run that nothing happened to."""

    recipe: Mapping[str, Any]
    folder: Path
    """Its `run` and its `cache` lie here."""
    seconds: float
    calls: Mapping[str, int]
    """File-system calls by kind; empty without the shim."""
    requests: int


class Trial(NamedTuple):
    """What became of a run that was struck."""

    number: int
    kind: str
    recipe: str
    plan: Plan
    code: int
    """Exit code of the process that was struck; minus the signal that killed it."""
    struck: str
    """The file-system call that was struck, and its file."""
    faults: int
    repeated: int
    """Requests more than in the undisturbed run."""
    lost: int
    """Requests whose replies stood in the ledger after the fault, and which were sent again."""
    wrong: tuple[str, ...]
    """What is not as it should be; empty where all is."""


class Bench:
    """Where trials take place: a warm process, a server that counts, a folder."""

    def __init__(self, nursery: Nursery, server: LoopbackServer, folder: Path) -> None:
        self.nursery, self.server, self.folder = nursery, server, folder

    def undisturbed(self, name: str, recipe: Mapping[str, Any]) -> Undisturbed:
        """Run a recipe to its end, and once more, which must do nothing."""
        folder = self._new(f"undisturbed {name}", recipe)
        began = len(self.server.requests)
        ended = self._command(folder, "first")
        if ended.code:
            raise RuntimeError(f"{name}: the undisturbed run ended with {ended.code}: {ended.err[-600:]}")
        requests = len(self.server.requests) - began
        if wrong := self._again(folder):
            raise RuntimeError(f"{name}: {wrong}")
        return Undisturbed(recipe, folder, ended.seconds, ended.counts, requests)

    def trial(self, number: int, name: str, of: Undisturbed, kind: str, rng: Random) -> Trial:
        """Strike a run with a kind of fault, go on with it, and say what is not as it should be."""
        plan = faults.drawn(kind, of.calls, rng)
        for _ in range(TRIES):
            folder = self._new(f"{number:04d}", of.recipe)
            began = len(self.server.requests)
            ended = self._struck(folder, of, plan)
            if ended.struck or ended.code:
                break
            plan = plan._replace(moment=plan.moment * 0.7)
        wrong = [*_ending(plan, ended), *comparing.unwhole(folder / "run")]
        held = {request for request, _ in comparing.replies(folder / "run" / "calls.sqlite").values()}
        before = len(self.server.requests)
        count = 1
        if rng.random() < SECOND and ended.code:
            count += self._command(folder, "second", signals=[(rng.random() * of.seconds, signal.SIGKILL)]).signalled
            wrong += comparing.unwhole(folder / "run")
        last = self._command(folder, "last")
        if last.code:
            wrong.append(f"it cannot be gone on with ({last.code}): {last.err.strip()[-300:]}")
        else:
            wrong += comparing.differences(folder / "run", of.folder / "run")
            wrong += [f"{left}: left behind" for left in comparing.leftovers(folder / "run")]
        repeated = len(self.server.requests) - began - of.requests
        if repeated > IN_FLIGHT * count:
            wrong.append(f"{repeated} calls were repeated after {count} faults")
        asked = [
            comparing.request_key(s.body.get("messages", ()), s.body.get("seed")) for s in self.server.requests[before:]
        ]
        lost = sum(request in held for request in asked)
        if lost:
            wrong.append(f"{lost} calls that the ledger held were made again")
        if not last.code:
            wrong += self._again(folder)
        return Trial(number, plan.name, name, plan, ended.code, ended.struck, count, repeated, lost, tuple(wrong))

    def _struck(self, folder: Path, of: Undisturbed, plan: Plan) -> Ended:
        if plan.name in FILE_FAULTS:
            return self._command(folder, "first", plan=faults.as_plain(plan, of.calls))
        moment = plan.moment * of.seconds
        moments = [moment, moment + BETWEEN] if plan.name.endswith("twice") else [moment]
        return self._command(folder, "first", signals=[(each, SIGNALS[plan.name]) for each in moments])

    def _again(self, folder: Path) -> list[str]:
        """Go on with a finished run: no byte may change, and nothing may be asked."""
        told, requests = comparing.snapshot(folder / "run", folder / "cache"), len(self.server.requests)
        ended = self._command(folder, "again")
        after = comparing.snapshot(folder / "run", folder / "cache")
        changed = sorted(name for name in told.keys() | after.keys() if told.get(name) != after.get(name))
        wrong = [f"{name}: changed though the run was finished" for name in changed]
        if len(self.server.requests) != requests:
            wrong.append("a finished run asked the teacher")
        return wrong + ([f"a finished run ended with {ended.code}: {ended.err[-300:]}"] if ended.code else [])

    def _new(self, name: str, recipe: Mapping[str, Any]) -> Path:
        folder = self.folder / "".join(sign if sign.isalnum() else "-" for sign in name)
        while folder.exists():
            folder = folder.with_name(folder.name + "+")
        (folder / "cache").mkdir(parents=True)
        write_recipe(folder / "recipe.yaml", recipe, self.server.base_url)
        return folder

    def _command(
        self,
        folder: Path,
        log: str,
        *,
        plan: Mapping[str, Any] | None = None,
        signals: Sequence[tuple[float, int]] = (),
    ) -> Ended:
        run = folder / "run"
        begun = (run / "recipe.yaml").exists()
        arguments = ["resume", str(run)] if begun else ["run", str(folder / "recipe.yaml"), "--into", str(run)]
        cache = folder / "cache"
        environment = {
            "LOOPBACK_KEY": self.server.key,
            "TUTELAGE_CACHE": str(cache),
            "TUTELAGE_CALLS": f"{cache}/calls.sqlite",
        }
        return self.nursery.run(
            arguments, cwd=folder, log=folder / log, environment=environment, plan=plan, watched=[run, cache],
            signals=signals,
        )  # fmt: skip


def _ending(plan: Plan, ended: Ended) -> list[str]:
    """Say what is wrong with how the struck process ended."""
    may: Mapping[str, set[int]] = {
        "SIGKILL": {-9}, "kill at a call": {-9}, "torn write, killed": {-9},
        "SIGTERM": {143, -15}, "SIGINT": {130}, "SIGINT twice": {130},
    }  # fmt: skip
    wrong = [f"{left}: was left running" for left in ended.left]
    if ended.code and ended.code not in may.get(plan.name, {1, 2, 3, 5}):
        wrong.append(f"it ended with {ended.code}: {ended.err.strip()[-600:]}")
    elif "Traceback" in ended.err:
        wrong.append(f"it ended with a traceback: {ended.err.strip()[-600:]}")
    return wrong
