"""Equations of worked solutions: found, checked within 0.001, made a key."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.equations import Equation, all_hold, equation_key, equations


def test_calculator_notes_are_read_and_the_words_beside_them_are_not() -> None:
    text = "She sold 48/2 = <<48/2=24>>24 clips, and 48 + 24 = <<48+24=72>>72 in all.\n#### 72"
    assert equations(text) == [Equation("48/2", "24"), Equation("48+24", "72")]
    assert equation_key(text) == "48/2=24|48+24=72"
    assert all_hold(text)


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("<<16-3-4=9>>", True),
        ("<<9*2=18>> then <<18+1=20>>", False),  # one false equation is enough
        ("<<.5*12=6>>", True),
        ("<<20*.01=.2>>", True),
        ("<<10/3=3.333>>", True),  # within 0.001
        ("<<10/3=3.33>>", False),  # 0.0033 off
        ("<<(3+4)*2=14>>", True),
        ("<<2(3+4)=14>>", True),
        ("<<50%*80=40>>", True),
        ("<<80-80*20%=64>>", True),
        ("<<1,200+300=1500>>", True),
        ("<<$3*4=$12>>", True),
        ("<<-3+5=2>>", True),
        ("<<5/0=5>>", False),
        ("<<x+3=5>>", False),  # cannot be worked out
        ("<<24>>", False),  # no equation at all
        ("<<3+4=7=7>>", True),
        ("<<3+4=7=8>>", False),
        ("2 + 3 = 5, and 5 x 4 = 20.", True),
        ("2 + 3 = 6.", False),
        ("3 × 4 = 12 and 12 ÷ 4 = 3", True),
        ("So he has 12 apples.", True),  # nothing to check
        ("8 - 3 = 5 + 2 = 7", True),  # a sloppy chain is not taken apart
        ("(3 + 4) * 2 + 1 = 15", True),  # nor is the end of a bracketed one
        ("At 10:30 - 2 = 29 it began", True),  # a part of a time is no number
        ("<<" + "(" * 90 + "1" + ")" * 90 + "=1>>", False),  # too deep
    ],
)
def test_which_equations_hold(text: str, held: bool) -> None:
    assert all_hold(text) is held


def test_plain_equations_have_a_key_without_spaces_and_dress() -> None:
    assert equation_key("First $1,200 + 300 = $1,500, then 3 x 4=12.") == "1200+300=1500|3*4=12"
    assert equation_key("3 × 4 = 12") == equation_key("It is 3*4=12, so 12.")
    assert equation_key("no sums here") == ""


@given(st.integers(-999, 999), st.integers(1, 999), st.sampled_from("+-*/"), st.integers(-2, 2))
def test_a_note_holds_exactly_when_its_arithmetic_is_right(a: int, b: int, sign: str, off: int) -> None:
    value = {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[sign] + off
    assert all_hold(f"<<{a}{sign}{b}={value:.9f}>>") is (off == 0)


@given(st.text(alphabet="0123456789+-*/().=<>%$, x×÷\n", max_size=300))
def test_hostile_text_raises_nothing(text: str) -> None:
    assert all_hold(text) in (True, False)
    assert re.sub(r"\s", "", equation_key(text)) == equation_key(text)


def test_long_hostile_text_is_read_in_time() -> None:
    for text in ("1+" * 50_000, "<<" * 50_000, "1 " * 50_000 + "=", "9" * 100_000, "1*1*1*1*1*1*1*1*1" * 10_000):
        equations(text)
