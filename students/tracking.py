"""Where a training run's curves go beside the run folder: TRL's own reporting, on one axis over all rounds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lessons.records import Record

Reporter = Literal["tensorboard", "wandb", "trackio", "mlflow"]
"""A tracker that TRL reports to."""


class Tracking(Record, frozen=True, kw_only=True):
    """What a training run is told of the run that it belongs to."""

    report_to: tuple[Reporter, ...]
    folder: str
    """Where a tracker that writes files is to write them (TensorBoard)."""
    project: str
    name: str
    """Of the run: a tracker that knows a run of this name goes on with it."""
    steps_before: int = 0
    """Steps of the rounds before, so that all rounds lie on one axis."""


def reporting(tracking: Tracking | None) -> dict[str, Any]:
    """Return the trainer's settings that have it report every step; without tracking, nothing is reported."""
    if tracking is None or not tracking.report_to:
        return {"report_to": "none", "logging_strategy": "no"}
    return {
        "report_to": list(tracking.report_to),
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "run_name": tracking.name,
        "project": tracking.project,
        "trackio_static_space_id": False,  # else it would publish the run on the hub
    }


def follow(trainer: Any, tracking: Tracking | None) -> None:
    """Have a trainer's reports go to the run's own folder, on the axis of all rounds."""
    from transformers import TrainerCallback

    if tracking is None or not tracking.report_to:
        return
    before = tracking.steps_before

    class Onward(TrainerCallback):
        """Counts the steps of earlier rounds in while the trackers look; they see one state, in this order."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs is not None:
                set_right(logs, trainer.losses)
            state.global_step += before

    class Back(TrainerCallback):
        """Takes them out again."""

        def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            state.global_step -= before

    trainer.callback_handler.callbacks.insert(0, Onward())
    trainer.add_callback(Back())
    _into(tracking, trainer.callback_handler.callbacks)


def set_right(logs: dict[str, Any], losses: Sequence[float]) -> None:
    """Have a trainer's figures say what we measure."""
    # What TRL sums over micro-batches is not our loss, which is weighed over the whole step.
    if "loss" in logs and losses:
        logs["loss"] = losses[-1]
    for name in [name for name in logs if name.startswith("train_") or name == "total_flos"]:
        del logs[name]  # the trainer's closing line: sums of one round, and speeds that we measure


class Relay:
    """Reports the figures of a training in another process, through the same callbacks as one in this process."""

    def __init__(self, tracking: Tracking) -> None:
        """Open the trackers."""
        from transformers import TrainerControl, TrainerState, TrainingArguments
        from transformers.integrations.integration_utils import get_reporting_integration_callbacks
        from transformers.trainer_callback import CallbackHandler

        self._before = tracking.steps_before
        self._args = TrainingArguments(output_dir=tracking.folder, use_cpu=True, **reporting(tracking))
        self._state, self._control = TrainerState(), TrainerControl()
        callbacks = [kind() for kind in get_reporting_integration_callbacks(list(tracking.report_to))]
        nothing: Any = None
        self._handler = CallbackHandler(callbacks, nothing, nothing, nothing, nothing)
        _into(tracking, callbacks)
        self._handler.on_train_begin(self._args, self._state, self._control)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Report the figures of a step, counted from 1 in its round."""
        self._state.global_step = self._before + step
        self._handler.on_log(self._args, self._state, self._control, dict(figures))

    def close(self) -> None:
        """Tell the trackers that this training is over."""
        self._handler.on_train_end(self._args, self._state, self._control)


def _into(tracking: Tracking, callbacks: Sequence[Any]) -> None:
    """Have what writes files write them into the run's folder."""
    for callback in callbacks:
        if type(callback).__name__ == "TensorBoardCallback":
            callback.logging_dir = str(Path(tracking.folder))
