"""A model read as a judge: one token against another after each prefix, as the model itself says."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import InputError
from lessons.records import Message
from students.judging import Row, TokenJudge, rows_of
from students.tiny import POSITIONS, TinyBase

prefixes = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), max_size=12)


@pytest.fixture(scope="module")
def judge() -> TokenJudge:
    return TokenJudge(TinyBase(), precision="float32")


@given(prefixes)
def test_rows_answer_for_every_prefix_in_order(asked: list[list[int]]):
    rows = rows_of(asked)
    assert [list(row.tokens[:end]) for row in rows for end in row.ends] == asked
    assert len(rows) <= len(asked)


def test_a_prefix_that_goes_on_shares_its_row():
    assert rows_of([[1, 2], [1, 2, 3], [1, 2, 3, 4]]) == [Row((1, 2, 3, 4), (2, 3, 4))]
    assert rows_of([[1, 2], [1, 3, 4], [1, 3, 4]]) == [Row((1, 2), (2,)), Row((1, 3, 4), (3,)), Row((1, 3, 4), (3,))]


def test_chances_are_the_models_own(judge: TokenJudge):
    """Against the model's logits, one prefix at a time and without any padding."""
    import torch

    texts = ["one step", "two steps and more of them", "x", "two steps"]
    asked = [[judge.after_text(text[:length]) for length in range(1, len(text) + 1, 3)] for text in texts]
    good, bad = judge.token("+"), judge.token("-")
    model = TinyBase().model(torch.float32).eval()
    found = judge.chances(asked, good, bad)
    for told, prefixes_of_text in zip(found, asked, strict=True):
        assert len(told) == len(prefixes_of_text)
        for chance, prefix in zip(told, prefixes_of_text, strict=True):
            with torch.no_grad():
                logits = model(torch.tensor([prefix])).logits[0, -1]
            expected = torch.softmax(logits[[good, bad]], -1)[0].item()
            assert chance == pytest.approx(expected, abs=1e-5)
            assert 0 < chance < 1


def test_good_and_bad_share_one(judge: TokenJudge):
    asked = [[judge.after_text("a step")]]
    ((one,),) = judge.chances(asked, judge.token("+"), judge.token("-"))
    ((other,),) = judge.chances(asked, judge.token("-"), judge.token("+"))
    assert math.isclose(one + other, 1, abs_tol=1e-6)


def test_what_does_not_fit_has_no_answer_and_spoils_nothing(judge: TokenJudge):
    short, long = [[5, 6, 7]], [[5, 6], [9] * (POSITIONS + 1)]
    alone = judge.chances([short], 43, 45)
    assert judge.chances([long, short], 43, 45) == [[], alone[0]]
    assert judge.chances([], 43, 45) == []
    assert judge.chances([[]], 43, 45) == [[]]


def test_progress_ends_with_all_rows(judge: TokenJudge):
    told: list[tuple[int, int]] = []
    judge.chances([[[1, 2]], [[3, 4], [5]]], 43, 45, progress=lambda *at: told.append(at))
    assert told[-1] == (3, 3)


def test_a_closed_judge_loads_again():
    judge = TokenJudge(TinyBase(), precision="float32")
    before = judge.chances([[[5, 6]]], 43, 45)
    judge.close()
    judge.close()
    assert judge.chances([[[5, 6]]], 43, 45) == before


def test_a_word_without_a_token_is_refused(judge: TokenJudge):
    with pytest.raises(InputError, match="no token for ''"):
        judge.token("")


def test_a_chat_ends_where_the_assistant_begins(judge: TokenJudge):
    tokens = judge.after_chat([Message(role="user", content="a")])
    assert judge.tokenizer.decode(tokens) == "<|user|>a<|end|><|assistant|>"
