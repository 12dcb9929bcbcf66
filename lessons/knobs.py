"""What a plug-in says of a knob beside type and default: that results do not depend on it, that it holds plug-ins."""

import dataclasses
from typing import Any, NamedTuple

_OPERATIONAL = "operational"


class Nested(NamedTuple):
    """Marks a knob that holds a plug-in, or a sequence of them: `Annotated[tuple[Teacher, ...], Nested("teacher")]`.

    In a recipe each is written as anywhere else: an id, or a mapping with its id and knobs.
    """

    family: str
    key: str = "kind"
    """The member of the mapping that holds the id."""


def operational(default: Any = dataclasses.MISSING, *, factory: Any = dataclasses.MISSING) -> Any:
    """Return a field of a plug-in that changes how the work is done, and never what comes of it: a timeout, a price.

    A run goes on under another value of such a knob, and the run's digest leaves it out.
    """
    metadata = {_OPERATIONAL: True}
    if factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def is_operational(field: "dataclasses.Field[Any]") -> bool:
    """Whether a field was declared with `operational`."""
    return bool(field.metadata.get(_OPERATIONAL))
