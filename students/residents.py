"""Which objects of this process hold a loaded model: memory is the process's, so there is one list of them."""

from typing import Protocol
from weakref import WeakSet


class Holder(Protocol):
    """Something that holds a loaded model, and can give it back; its next use loads it again."""

    def close(self) -> None:
        """Give the memory back; may be called twice."""
        ...


_HOLDERS: "WeakSet[Holder]" = WeakSet()


def resident(holder: Holder) -> None:
    """Note that this object has loaded a model."""
    _HOLDERS.add(holder)


def gone(holder: Holder) -> None:
    """Note that it has let go of it."""
    _HOLDERS.discard(holder)


def residents() -> list[Holder]:
    """Return who holds a model, in no order."""
    return list(_HOLDERS)


def close_all() -> int:
    """Have everybody give back what they hold; return how many there were."""
    holders = residents()
    for holder in holders:
        holder.close()
    return len(holders)
