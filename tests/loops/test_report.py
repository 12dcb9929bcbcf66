import base64
import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lessons.jsonl import encode_line
from lessons.records import Lesson, Message, Problem, Provenance
from loops.exams.records import Contamination, SharedText
from loops.reading import RunView
from loops.records import FinalExam
from loops.report import page, write_report
from loops.report.headline import headline
from loops.report.page import plotly_js
from loops.store import write_record
from loops.views.gaps import gaps
from tests.loops.report_elements import Elements

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)></script></style>\u202e\x1b[31m\u2028{{ 7 * 7 }}"


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
    assert {"rounds", "skills", "funnel", "lessons", "cost", "facts", "figure-heat", "failures"} <= ids
    assert {"figures", "failure-counts", "plotly", "lessons-index", "chains-0", "failures-0"} <= set(example_page.data)
    for word in ("Better than at the start", "Worse than at the start products", "Why candidates were dropped"):
        assert word in example_page.text
    assert "3 training problems with the same" in example_page.text
    assert re.search(
        r"\d+ trained, 40 replayed, 6 kept, not chosen, \d+ dropped. All of them are in this file", example_page.text
    )


def test_nothing_is_fetched_and_only_our_scripts_run(example_page: Elements) -> None:
    assert not [
        (tag, name, value)
        for tag, name, value in example_page.attributes
        if name in ("src", "srcset", "action", "data") or (name == "href" and not value.startswith("#"))
    ]
    assert "link" not in example_page.tags
    assert example_page.policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "script-src 'unsafe-inline'" not in example_page.policy
    assert "connect-src" not in example_page.policy
    assert len(example_page.blocks["script"]) == 1  # our own; Plotly lies in the data, and is run by its hash
    for block in (*example_page.blocks["script"], plotly_js(), *example_page.blocks["style"]):
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in example_page.policy
    assert gzip.decompress(base64.b64decode(example_page.data["plotly"])).decode() == plotly_js()
    assert set(example_page.figures) == {
        "accuracy", "accuracy-time", "skills-accuracy", "skills-gap", "skills-change", "errors", "loss", "seconds"
    }  # fmt: skip


def test_no_style_attribute_and_no_handler(example_page: Elements) -> None:
    names = {name for _, name, _ in example_page.attributes}
    assert "style" not in names
    assert not {name for name in names if name.startswith("on")}


def test_the_figures_are_plotlys(example_page: Elements) -> None:
    import plotly.graph_objects as go

    figures = example_page.figures
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
    (cells,) = example_page.figures["skills-accuracy"]["data"]
    for row, shown in zip(gaps(example_run).skills, cells["z"], strict=True):
        assert shown == [pytest.approx(100 * (exam.accuracy or 0)) for exam in row.exams]


def test_nothing_that_a_model_wrote_is_live(make_run: Callable[..., Path]) -> None:
    run = RunView.open(make_run(hostile=HOSTILE, train=6, held_out=6))
    text = page(run)
    found = Elements(text)
    assert found.tags.count("script") == 1 + len(found.data)
    assert found.tags.count("style") == 1
    assert "img" not in found.tags
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    assert not {"\u202e", "\x1b", "\u2028"} & set(text)
    assert "⟨U+202E⟩⟨ESC⟩[31m⟨U+2028⟩{{ 7 * 7 }}" in found.text
    assert "<script>alert(1)</script><img src=x onerror=alert(2)>" in found.text  # shown, as text
    for name in found.data:
        if name not in ("plotly", "figures", "failure-counts"):
            assert re.fullmatch(r"[A-Za-z0-9+/=]+", found.data[name])
            assert not {"\u202e", "\x1b", "\u2028"} & set(json.dumps(found.unpacked(name), ensure_ascii=False))
    assert not set("<>&") & set(found.data["figures"] + found.data["failure-counts"])
    figures = found.figures
    labels = figures["skills-accuracy"]["layout"]["yaxis"]["ticktext"]
    hover = figures["skills-accuracy"]["data"][0]["hovertext"]
    assert all("<" not in label for label in labels)
    for told in (text for row in hover for text in row):
        assert set(re.findall(r"<[^>]*>", told)) <= {"<b>", "</b>", "<br>"}


def test_the_final_exam_comes_first(own_run: Path) -> None:
    run = RunView.open(own_run)
    metrics = [turn.metrics for turn in run.rounds]
    assert metrics[0] is not None
    assert metrics[2] is not None
    final = FinalExam(round=2, metrics=metrics[2], base=metrics[0])
    write_record(own_run / "final.json", final)
    found = Elements(page(RunView.open(own_run)))
    assert "questions that nothing was chosen on, before any lesson and after round 2" in found.text
    names = [trace["name"] for trace in found.figures["accuracy"]["data"]]
    assert names[-1].startswith("final exam")
    assert [point for trace in found.figures["accuracy"]["data"][-1:] for point in trace["y"]] == [
        pytest.approx(100 * metrics[0].accuracy), pytest.approx(100 * metrics[2].accuracy)
    ]  # fmt: skip


def test_contamination_is_said_by_round(own_run: Path) -> None:
    shared = SharedText(
        lesson="ab12", problem="cd34", part="held_out", kind="13-gram", where="prompt", text="<b>the same words"
    )
    record = Contamination(
        round=1, lessons=200, problems=40, rows={"exact": 0, "13-gram": 3}, own=2, touched={"held_out": 2},
        dropped={"13-gram": 7}, baseline=0.25, examples=(shared,),
    )  # fmt: skip
    write_record(own_run / "rounds/01/contamination.json", record)
    text = page(RunView.open(own_run))
    found = Elements(text)
    (row,) = re.findall(r'<th scope="row">round 1</th><td class="n">200<.*?</tr>', text)
    assert re.findall(r"<td[^>]*>(.*?)</td>", row) == ["200", "0", "3", "2", "7", "1.5 %", "25.0 %"]
    assert "<b>the same words" in found.text


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
        (("calls.sqlite", "rounds/01/attempts.jsonl"), "All of them are in this file"),
        (("rounds/01/kept.jsonl", "rounds/01/lessons.jsonl", "rounds/01/profile.json"), "From asked to trained"),
    ],
)
def test_half_a_run_has_a_report(own_run: Path, gone: tuple[str, ...], told: str) -> None:
    for name in gone:
        path = own_run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = Elements(page(RunView.open(own_run)))
    assert told in found.text
    if "calls.sqlite" in gone:
        of_round = zip(found.chains, found.unpacked("lessons-index")["rows"]["round"], strict=True)
        assert all(chain["attempt"] is None and chain["attempt_id"] for chain, index in of_round if index == 1)
        assert sum(chain["calls_missing"] for chain in found.chains) > 50


def test_a_run_whose_rounds_were_not_kept(own_run: Path) -> None:
    for index in (1, 2):
        path = own_run / f"rounds/{index:02d}/metrics.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"promoted": False}))
    text = Elements(page(RunView.open(own_run))).text
    assert "No round's student was kept" in text
    assert "The best of 2 tries reached" in text
