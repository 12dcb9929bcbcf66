"""Figures of the loop, in the same run of the same tracker that TRL sends its curves to."""

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lessons.errors import InputError
from lessons.jsonl import write_whole
from loops.records import ExamMetrics, Marker
from loops.settings import TrackingSettings
from students.tracking import Reporter, Tracking

if TYPE_CHECKING:
    from loops.work import Work

Figures = Mapping[str, float]
Log = Callable[[Figures, int], None]
"""Sends figures, with the number of training steps so far."""


def check(settings: TrackingSettings) -> None:
    """Refuse a tracker that is not installed.

    Raises:
        InputError: names the package.
    """
    for place, name in enumerate(settings.report_to):
        if find_spec(name) is None:  # each is called as its package is
            raise InputError(
                f"tracking.report_to.{place}: {name} is not installed here: pip install {name}, or leave it out"
            )


@dataclass
class Tracker:
    """Sends a run's figures to the trackers that its recipe names. Opened once by each process that works at the run.

    The trackers' own variables and log-ins (WANDB_MODE, MLFLOW_TRACKING_URI, TRACKIO_DIR, ...) hold; without any,
    TensorBoard, W&B and MLflow write into the run folder.
    """

    settings: TrackingSettings
    folder: Path
    """`RUN/tracking`."""
    name: str
    config: Mapping[str, Any]
    """The recipe, as the tracker shows it."""

    def of_round(self, steps_before: int) -> Tracking | None:
        """Return what a training run is to be told; None where nothing is tracked."""
        if not self.settings.report_to:
            return None
        self.open()
        return Tracking(
            report_to=self.settings.report_to,
            folder=str(self.folder),
            project=self.settings.project,
            name=self.name,
            steps_before=steps_before,
        )

    def open(self) -> None:
        """Open the run in each tracker, so that TRL's callbacks find it open and go on with it.

        Raises:
            InputError: a tracker cannot be opened; what the run has done so far is kept.
        """
        if self.settings.report_to:
            self.folder.mkdir(parents=True, exist_ok=True)
        for name in self.settings.report_to:
            try:
                _OPEN[name](self)
            except Exception as error:  # whatever a foreign tracker raises, the user is told one line
                said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
                raise InputError(f"tracking.report_to: {name} cannot be opened: {said.strip()[:200]}") from error

    def log(self, figures: Figures, step: int) -> None:
        """Send figures to every tracker."""
        for name in self.settings.report_to:
            _OPEN[name](self)(figures, step)

    def close(self) -> None:
        """Tell the trackers that this process has done with the run."""
        for name in self.settings.report_to:
            if name in ("wandb", "trackio") and (module := _loaded(name)) is not None:
                _finish(module)
            elif name == "mlflow" and (module := _loaded(name)) is not None and module.active_run() is not None:
                module.end_run()


def _loaded(name: Reporter) -> Any:
    import sys

    return sys.modules.get(name)


def _finish(module: Any) -> None:
    from contextlib import suppress

    with suppress(RuntimeError):  # trackio's word for "there is no open run": TRL's callback closed it
        module.finish()


def _tensorboard(tracker: Tracker) -> Log:
    from torch.utils.tensorboard import SummaryWriter

    def log(figures: Figures, step: int) -> None:
        writer = SummaryWriter(log_dir=str(tracker.folder))
        for name, value in figures.items():
            writer.add_scalar(name, value, step)
        writer.close()

    return log


def _wandb(tracker: Tracker) -> Log:
    wandb: Any = importlib.import_module("wandb")
    if wandb.run is None:
        wandb.init(
            project=tracker.settings.project, name=tracker.name, id=tracker.name, resume="allow",
            dir=str(tracker.folder), config=dict(tracker.config),
        )  # fmt: skip
    return lambda figures, step: wandb.log({**figures, "train/global_step": step})


def _trackio(tracker: Tracker) -> Log:
    trackio: Any = importlib.import_module("trackio")
    trackio.init(
        project=tracker.settings.project,
        name=tracker.name,
        resume="allow",
        config=dict(tracker.config),
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    return lambda figures, step: trackio.log({**figures, "train/global_step": step})


def _mlflow(tracker: Tracker) -> Log:
    mlflow: Any = importlib.import_module("mlflow")
    if mlflow.active_run() is None:
        if "MLFLOW_TRACKING_URI" not in os.environ:
            mlflow.set_tracking_uri(f"sqlite:///{tracker.folder.resolve()}/mlflow.db")
        mlflow.set_experiment(tracker.settings.project)
        found = mlflow.search_runs(filter_string=f"tags.tutelage = '{tracker.name}'", output_format="list")
        known = found[0].info.run_id if found else None
        mlflow.start_run(run_id=known, run_name=tracker.name, tags=None if known else {"tutelage": tracker.name})
    return lambda figures, step: mlflow.log_metrics({_plain(name): value for name, value in figures.items()}, step=step)


def _plain(name: str) -> str:
    """Return a name that MLflow takes: letters, digits and `_ - . : / space`."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-.:/ ") else "_" for sign in name)


_OPEN: dict[Reporter, Callable[[Tracker], Log]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "trackio": _trackio,
    "mlflow": _mlflow,
}


def figures_of(metrics: ExamMetrics, markers: Mapping[str, Marker], gaps: Mapping[str, float]) -> dict[str, float]:
    """Return a round's figures under the names that trackers group by: exam/, skill/, gap/, lessons/, teacher/."""
    found: dict[str, float] = {
        "round": float(metrics.round),
        "exam/accuracy": metrics.accuracy,
        "exam/low": metrics.low,
        "exam/high": metrics.high,
        "exam/promoted": float(metrics.promoted),
    }
    if metrics.change is not None:
        found |= {"exam/change": metrics.change.difference, "exam/p": metrics.change.p}
    for skill, exam in metrics.skills.items():
        if exam.row.accuracy is not None:
            found[f"skill/{skill}"] = exam.row.accuracy
    found |= {f"gap/{skill}": gap for skill, gap in gaps.items()}
    for stage, marker in markers.items():
        found[f"seconds/{stage}"] = marker.seconds
        for name, count in marker.counts.items():
            area, _, what = name.partition("/")
            if area in ("teach", "filter", "select", "drop", "lost", "tokens"):
                group = "teacher" if area in ("lost", "tokens") else "lessons"
                found[f"{group}/{area} {what}"] = found.get(f"{group}/{area} {what}", 0.0) + count
    return found


def tracked(work: "Work", index: int) -> Tracking | None:
    """Return what the training of a round is to be told; None where nothing is tracked."""
    return work.tracker.of_round(steps_before(work, index))


def round_done(work: "Work", index: int) -> None:
    """Send the figures of a round whose exam is done, once; the file `tracking/rounds.txt` knows which were sent."""
    from loops.reading import RoundView

    tracker = work.tracker
    if not tracker.settings.report_to:
        return
    sent = tracker.folder / "rounds.txt"
    done = sent.read_text(encoding="utf-8").split() if sent.exists() else []
    if str(index) in done:
        return
    turn = RoundView(index, work.folder.round(index))
    assert turn.metrics is not None
    gaps = {skill: row.gap for skill, row in turn.profile.rows.items()} if turn.profile else {}
    tracker.open()
    tracker.log(figures_of(turn.metrics, turn.markers, gaps), steps_before(work, index + 1))
    write_whole(sent, ("\n".join([*done, str(index)]) + "\n").encode())


def steps_before(work: "Work", index: int) -> int:
    """Return how many steps the rounds before this one have trained."""
    from loops.reading import RoundView

    turns = (RoundView(earlier, work.folder.round(earlier)) for earlier in range(index))
    return sum(turn.learned.learned.steps for turn in turns if turn.learned is not None)
