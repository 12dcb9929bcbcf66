"""The heat maps: skills down, rounds across, in three looks; every cell leads to the failures behind it."""

from loops.records import Change
from loops.report.blocks import short
from loops.report.plotting import Figure, safe, title
from loops.views.gaps import Gaps, SkillGap, SkillRound
from loops.views.text import clipped, interval, p_value, percent, points

LABEL = 34
"""Characters of a skill's name beside a heat map."""
KEY = 200
"""Characters of a skill's name by which its failures are found."""


def accuracy_map(view: Gaps) -> Figure:
    """Draw each skill's accuracy in every exam; a cell leads to the questions answered wrong."""
    indexes = [row.round for row in view.rounds]
    cells = [{exam.round: exam for exam in row.exams} for row in view.skills]
    return _heat(
        view.skills,
        [title(index) for index in indexes],
        cells=("exam", indexes),
        z=[[_share(row.get(index)) for index in indexes] for row in cells],
        hover=[
            [_skill_hover(skill.skill, index, row.get(index)) for index in indexes]
            for skill, row in zip(view.skills, cells, strict=True)
        ],
        scale=("--heat-0", "--heat-1", "--heat-2", "--heat-3", "--heat-4"),
        bounds=(0, 100),
    )


def _share(exam: SkillRound | None) -> float | None:
    return None if exam is None or exam.accuracy is None else 100 * exam.accuracy


def _skill_hover(skill: str, index: int, exam: SkillRound | None) -> str:
    head = f"<b>{safe(skill)}</b>, {title(index)}"
    if exam is None or exam.accuracy is None:
        return f"{head}<br>not asked"
    told = f"{percent(exam.accuracy)} {interval(exam.low, exam.high)}, {exam.right:,} of {exam.n:,}"
    change = f"<br>{_change_hover(exam.change)} against the student before" if exam.change is not None else ""
    return f"{head}<br>{told}{change}"


def _change_hover(change: Change) -> str:
    return f"{points(change.difference)} points {interval(change.low, change.high)}, {p_value(change.p)}"


def gap_map(view: Gaps) -> Figure:
    """Draw each skill's gap when every round began; a cell leads to the train attempts that lacked it."""
    indexes = sorted({index for row in view.skills for index in row.gaps})
    return _heat(
        view.skills,
        [f"before round {index}" for index in indexes],
        cells=("train", indexes),
        z=[[100 * row.gaps[index] if index in row.gaps else None for index in indexes] for row in view.skills],
        hover=[[f"<b>{safe(row.skill)}</b><br>{_gap_hover(row, index)}" for index in indexes] for row in view.skills],
        scale=("--gap-0", "--gap-1", "--gap-2", "--gap-3", "--gap-4"),
        bounds=(0, 100),
    )


def _gap_hover(row: SkillGap, index: int) -> str:
    if index not in row.gaps:
        return "not measured"
    lines = [f"gap {percent(row.gaps[index])} when round {index} began"]
    if index in row.attempts:
        lines[0] += f", of {row.attempts[index]:,} attempts"
    if index in row.pooled:
        pooled = row.pooled[index]
        lines.append(f"pooled {percent(pooled.gap)} {interval(pooled.low, pooled.high)}")
    if index in row.shares:
        lines.append(f"{percent(row.shares[index])} of the budget")
    return "<br>".join(lines)


def change_map(view: Gaps) -> Figure:
    """Draw each skill's change against the student before; a cell leads to the questions lost."""
    indexes = [row.round for row in view.rounds if row.round > 0]
    columns = [title(index) for index in indexes] + ["since start"]
    changes = [
        [*({exam.round: exam.change for exam in row.exams}.get(index) for index in indexes), row.since_start]
        for row in view.skills
    ]
    return _heat(
        view.skills,
        columns,
        cells=("lost", indexes),
        z=[[None if change is None else 100 * change.difference for change in row] for row in changes],
        hover=[
            [
                f"<b>{safe(skill.skill)}</b>, {column}<br>{_change_hover(change) if change else 'no comparison'}"
                for column, change in zip(columns, row, strict=True)
            ]
            for skill, row in zip(view.skills, changes, strict=True)
        ],
        scale=("--down-2", "--down-1", "--heat-none", "--up-1", "--up-2"),
        bounds=(-60, 60),
        signed=True,
    )


def _heat(
    skills: tuple[SkillGap, ...],
    columns: list[str],
    *,
    cells: tuple[str, list[int]],  # kind of the failures behind the cells, and their rounds
    z: list[list[float | None]],  # [skill][column], per cent
    hover: list[list[str]],
    scale: tuple[str, ...],
    bounds: tuple[float, float],
    signed: bool = False,
) -> Figure:
    steps = len(scale) - 1
    return {
        "data": [
            {
                "type": "heatmap",
                "z": z,
                "x": columns,
                "y": list(range(len(skills))),
                "text": [["" if v is None else _cell(v, signed) for v in row] for row in z],
                "hoverinfo": "text",
                "hovertext": hover,
                "hoverongaps": False,
                "colorscale": [[step / steps, color] for step, color in enumerate(scale)],
                "zmin": bounds[0],
                "zmax": bounds[1],
                "showscale": False,
                "xgap": 4,
                "ygap": 4,
            }
        ],
        "layout": {
            "meta": {"kind": cells[0], "rounds": cells[1], "skills": [short(row.skill, KEY) for row in skills]},
            "height": 64 + 38 * len(skills),
            "xaxis": {"type": "category", "side": "top", "showgrid": False, "fixedrange": True},
            "yaxis": {
                "autorange": "reversed",
                "tickvals": list(range(len(skills))),
                "ticktext": [safe(clipped(" ".join(row.skill.split()), LABEL)) for row in skills],
                "showgrid": False,
                "zeroline": False,
            },
        },
    }


def _cell(value: float, signed: bool) -> str:
    return points(value / 100, 0) if signed else f"{value:.0f}"
