import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lessons.jsonl import encode_line
from lessons.records import Lesson, Message, Problem, Provenance
from loops.reading import RunView
from loops.report import page, write_report
from loops.report.headline import headline
from loops.views.gaps import gaps

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)></script></style>\u202e\x1b[31m\u2028{{ 7 * 7 }}"


class Elements(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.blocks: dict[str, list[str]] = {"script": [], "style": []}
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag in self.blocks:
            self._open = tag
            self.blocks[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._open:
            self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.blocks[self._open][-1] += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    @property
    def policy(self) -> str:
        return next(v for _, name, v in self.attributes if name == "content" and v.startswith("default-src"))


@pytest.fixture(scope="module")
def example_page(example_run: Path) -> Elements:
    return Elements(page(RunView.open(example_run)))


def test_the_headline_is_the_exams_own(example_page: Elements, example_run: Path) -> None:
    view = gaps(example_run)
    assert view.start is not None
    assert view.now is not None
    assert view.now.since_start is not None
    assert f"{100 * view.start.accuracy:.1f} % → {100 * view.now.accuracy:.1f} %" in example_page.text
    assert f"{view.now.since_start.gained} right that it had wrong" in example_page.text
    assert headline(view).tone == "up"


def test_every_part_is_there(example_page: Elements) -> None:
    ids = {value for _, name, value in example_page.attributes if name == "id"}
    assert {"rounds", "skills", "funnel", "lessons", "facts", "heat", "figures"} <= ids
    for word in ("Better than at the start", "Worse than at the start products", "Why candidates were dropped"):
        assert word in example_page.text
    for word in (
        "Lacked: carrying",
        "The student's attempt score 0",
        "weight 1.5",
        "3 training problems with the same",
    ):
        assert word in example_page.text
    assert re.search(r"14 of \d+ new lessons", example_page.text)


def test_nothing_is_fetched_and_only_our_scripts_run(example_page: Elements) -> None:
    assert not [
        (tag, name, value)
        for tag, name, value in example_page.attributes
        if name in ("src", "srcset", "action", "data") or (name == "href" and not value.startswith("#"))
    ]
    assert "link" not in example_page.tags
    assert example_page.policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "script-src 'unsafe-inline'" not in example_page.policy
    data, *programs = example_page.blocks["script"]
    assert len(programs) == 2  # Plotly once, and our own
    for block in (*programs, *example_page.blocks["style"]):
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in example_page.policy
    assert set(json.loads(data)) == {"accuracy", "skills-accuracy", "skills-gap", "skills-change", "loss"}


def test_no_style_attribute_and_no_handler(example_page: Elements) -> None:
    names = {name for _, name, _ in example_page.attributes}
    assert "style" not in names
    assert not {name for name in names if name.startswith("on")}


def test_the_figures_are_plotlys(example_page: Elements) -> None:
    import plotly.graph_objects as go

    figures = json.loads(example_page.blocks["script"][0])
    colors = {"--accent": "#000000"}
    for figure in figures.values():
        text = re.sub(r'"--[a-z0-9-]+"', f'"{colors["--accent"]}"', json.dumps(figure))
        made = go.Figure(json.loads(text))  # raises where a property or a value is not Plotly's
        assert made.data
    names = set(re.findall(r'"(--[a-z0-9-]+)"', json.dumps(figures)))
    style = example_page.blocks["style"][0]
    light, dark = style.split("prefers-color-scheme: dark", 1)
    for name in names:
        assert f"{name}:" in light
        assert f"{name}:" in dark


def test_heat_map_cells_are_the_skills_accuracies(example_page: Elements, example_run: Path) -> None:
    (cells,) = json.loads(example_page.blocks["script"][0])["skills-accuracy"]["data"]
    for row, shown in zip(gaps(example_run).skills, cells["z"], strict=True):
        assert shown == [pytest.approx(100 * (exam.accuracy or 0)) for exam in row.exams]


def test_nothing_that_a_model_wrote_is_live(make_run: Callable[..., Path]) -> None:
    run = RunView.open(make_run(hostile=HOSTILE, train=6, held_out=6))
    text = page(run)
    found = Elements(text)
    assert found.tags.count("script") == 3
    assert found.tags.count("style") == 1
    assert "img" not in found.tags
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    assert not {"\u202e", "\x1b", "\u2028"} & set(text.replace(found.blocks["script"][1], ""))
    assert "⟨U+202E⟩⟨ESC⟩[31m⟨U+2028⟩{{ 7 * 7 }}" in found.text
    assert "<script>alert(1)</script><img src=x onerror=alert(2)>" in found.text  # shown, as text
    figures = json.loads(found.blocks["script"][0])
    labels = figures["skills-accuracy"]["layout"]["yaxis"]["ticktext"]
    hover = figures["skills-accuracy"]["data"][0]["hovertext"]
    assert all("<" not in label for label in labels)
    for told in (text for row in hover for text in row):
        assert set(re.findall(r"<[^>]*>", told)) <= {"<b>", "</b>", "<br>"}


def test_ten_thousand_lessons_do_not_all_go_in(own_run: Path) -> None:
    short = len(page(RunView.open(own_run)))
    with (own_run / "rounds/01/lessons.jsonl").open("ab") as out:
        for number in range(10_000):
            out.write(
                encode_line(
                    Lesson(
                        prompt=(Message(role="user", content=f"Question {number}?"),),
                        completion="word " * 40,
                        problem=Problem(question=f"Question {number}?", skills=(f"skill {number % 40}",)),
                        provenance=Provenance(method="stat_syn", round=1, skill=f"skill {number % 40}"),
                    )
                )
            )
    text = page(RunView.open(own_run))
    assert len(text) < short + 150_000
    assert re.search(r"47 of 10,\d\d\d new lessons", Elements(text).text)


def test_an_exam_question_in_the_training_is_said_loudly(own_run: Path) -> None:
    run = RunView.open(own_run)
    assert "No trained row holds a question of the exam" in Elements(page(run)).text
    problem = next(run.problems("held_out"))
    lesson = Lesson(
        prompt=(Message(role="user", content=problem.question),),
        completion="Answer: 1",
        problem=Problem(question=f"  {problem.question.upper()}"),
        provenance=Provenance(method="stat_syn", round=1),
    )
    path = own_run / "rounds/01/lessons.jsonl"
    path.write_bytes(path.read_bytes() + encode_line(lesson))
    assert "1 trained rows hold a question of the exam" in Elements(page(RunView.open(own_run))).text


def test_the_file_is_written_whole(own_run: Path, tmp_path: Path) -> None:
    written = write_report(own_run)
    assert written == own_run / "report.html"
    assert written.read_text(encoding="utf-8").endswith("</html>")
    assert write_report(own_run, tmp_path / "other.html").is_file()
    assert not [path for path in own_run.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        (("finished.json", "rounds/02/metrics.json", "rounds/02/exam.jsonl"), "in round 2, exam"),
        (("rounds/01", "rounds/02"), "Before any lesson the student answers"),
        (("rounds",), "No exam yet"),
        (("run.json",), "stopped before it had written what it is"),
        (("calls.sqlite", "rounds/01/attempts.jsonl"), "No attempt behind it"),
        (("rounds/01/kept.jsonl", "rounds/01/lessons.jsonl", "rounds/01/profile.json"), "From asked to trained"),
    ],
)
def test_half_a_run_has_a_report(own_run: Path, gone: tuple[str, ...], told: str) -> None:
    for name in gone:
        path = own_run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert told in Elements(page(RunView.open(own_run))).text


def test_a_run_whose_rounds_were_not_kept(own_run: Path) -> None:
    for index in (1, 2):
        path = own_run / f"rounds/{index:02d}/metrics.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"promoted": False}))
    text = Elements(page(RunView.open(own_run))).text
    assert "No round's student was kept" in text
    assert "The best of 2 tries reached" in text
