"""How `tutelage catalog` looks: a line for each skill, then how well the labels agree, then what was asked."""

from typing import TYPE_CHECKING

from loops.views.catalog import CatalogView
from loops.views.text import count, one_line, percent, styled

if TYPE_CHECKING:
    from rich.console import RenderableType

_SOURCES = {
    "teacher": "written by the teacher",
    "file": "given in the file",
    "task": "brought by the task, which labels its problems itself",
}


def rendered(view: CatalogView) -> "RenderableType":
    """Return what rich prints."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table

    info = view.info
    source = _SOURCES[info.source]
    if info.sample:
        source += f" from {count(info.sample)} problems, {count(info.names)} fine names"
    head = styled(f"{len(view.skills)} skills in {one_line(view.path, 200)}", "bold")
    head.append(f"   {source}", "dim")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    with_subject = any(row.subject for row in view.skills)
    table.add_column("skill", overflow="fold", max_width=36)
    if with_subject:
        table.add_column("subject", overflow="fold", max_width=20)
    table.add_column("problems", justify="right")
    table.add_column("kappa", justify="right")
    table.add_column("such as", overflow="ellipsis", no_wrap=True)
    for row in view.skills:
        cells = [styled(one_line(row.name, 60)), *([styled(one_line(row.subject, 30))] if with_subject else [])]
        kappa = "–" if row.kappa is None else f"{row.kappa:.2f}"
        table.add_row(*cells, count(row.problems), kappa, styled(one_line(row.example, 70), "dim"))
    parts: list[RenderableType] = [head, Padding(table, (0, 0, 0, 2))]
    parts += [styled(line) for line in (_labelled(view), *_agreement(view), *_asked(view)) if line]
    parts += [styled(f"  fits none: {one_line(question)}", "dim") for question in view.unlabelled]
    if view.note:
        parts.append(styled(view.note, "yellow"))
    return Group(*parts)


def _labelled(view: CatalogView) -> str:
    info = view.info
    told = [f"{count(view.problems)} problems"]
    told += [f"{count(info.given)} brought their skills"] if info.given else []
    told += [f"{count(info.labelled)} labelled"] if info.labelled else []
    told += [f"{count(info.unlabelled)} fit no skill"] if info.unlabelled else []
    told += [f"{count(info.lost)} without a label, their replies were lost"] if info.lost else []
    return ", ".join(told)


def _agreement(view: CatalogView) -> list[str]:
    it = view.info.agreement
    if it is None:
        return []
    if it.kappa is None:
        return [f"agreement: not to be told from two passes over {count(it.n)} problems; chance alone agrees on them"]
    kappa = f"{it.kappa:.2f} [{it.low:.2f}, {it.high:.2f}]"
    same = percent(it.same, 0)
    return [f"agreement: kappa {kappa} of two passes over {count(it.n)} problems; {same} have the same skills in both"]


def _asked(view: CatalogView) -> list[str]:
    calls = view.calls
    if not calls.asked:
        return ["nothing had to be asked"]
    told = f"asked: {count(view.labelled_now)} problems, {count(calls.sent)} calls"
    told += f", {count(calls.kept)} more were paid for before" if calls.kept else ""
    told += f", lost: {', '.join(f'{reason} {number}' for reason, number in calls.lost.items())}" if calls.lost else ""
    changes = sorted(view.changed.items(), key=lambda item: (-item[1], item[0]))
    return [told, *(f"  {count(number)} since {one_line(why)}" for why, number in changes)]
