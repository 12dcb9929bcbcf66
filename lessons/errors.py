"""What can go wrong, as types. Each error says what is wrong, where, and what to do."""


class TutelageError(Exception):
    """The root of every error that this project raises on purpose."""


class InputError(TutelageError):
    """The user's input is wrong: a recipe, a file, a name. The command line shows it as one line and exits with 2."""


class MissingExtraError(InputError):
    """A package that only some runs need is not installed."""

    def __init__(self, package: str, *, extra: str, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs the package {package!r}: pip install 'tutelage[{extra}]'")


class GradeError(TutelageError):
    """A grader cannot tell how right an attempt is. The caller counts it; it is never taken for a score of 0."""


class ParseError(TutelageError):
    """A teacher's reply does not have the form that its prompt asked for."""


class RoundError(TutelageError):
    """A whole round cannot go on: too many replies were dropped, or nothing is left to train on."""


class TeacherError(TutelageError):
    """A teacher's call failed, translated from whatever its client raised.

    status: the HTTP status where there is one. retry_after: seconds that the endpoint asked to wait, where it did.
    retryable: whether the same call may succeed later. fatal: whether no call of this run can succeed (a wrong key, an
    unknown model), so that the run must stop at once.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        retryable: bool = False,
        fatal: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.retryable = retryable
        self.fatal = fatal


class StudentError(TutelageError):
    """A student cannot be loaded, or cannot learn what it was given."""


class BudgetError(TutelageError):
    """A cap of the run's budget is reached. Nothing is lost: what is paid for is kept, and a higher cap goes on."""


class StoppedError(TutelageError):
    """The user, or the watchdog, stopped what the command did; what is done is kept. The command exits with `code`."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code
