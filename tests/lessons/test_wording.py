"""The text to keep of each kind: the one farthest from the others."""

from hypothesis import given
from hypothesis import strategies as st

from lessons.wording import distance, farthest


def test_distance_adds_up() -> None:
    assert distance("abc", ["abd", "abc", "xyz"]) == 1 + 0 + 3


def test_of_one_key_the_text_farthest_from_the_others_is_kept() -> None:
    # With "aaaa" kept for the other key: "aaab" is 1 away from it, "zzzz" 4, "aazz" 2.
    assert farthest([("p", "aaaa"), ("q", "aaab"), ("q", "zzzz"), ("q", "aazz")]) == {"p": "aaaa", "q": "zzzz"}


def test_a_later_choice_goes_by_what_is_kept_then() -> None:
    # "p" is judged against "q"'s text of that moment: "bb" (2 away from "cc", as "aa" is) does not replace "aa".
    assert farthest([("p", "aa"), ("q", "cc"), ("p", "bb")])["p"] == "aa"
    # Now "q" has "ab" instead: "aa" is 1 away from it, "cc" 2, so "cc" replaces it.
    assert farthest([("p", "aa"), ("q", "ab"), ("p", "cc")])["p"] == "cc"


def test_with_one_key_alone_the_first_stays() -> None:
    assert farthest([("p", "one"), ("p", "a much longer one")]) == {"p": "one"}


def test_what_was_kept_before_is_gone_on_with() -> None:
    kept = farthest([("p", "aaaa"), ("q", "aaab")])
    assert farthest([("q", "zzzz")], kept) == {"p": "aaaa", "q": "zzzz"}
    assert kept == {"p": "aaaa", "q": "aaab"}


@given(st.lists(st.tuples(st.sampled_from("pqr"), st.text("ab", max_size=4)), max_size=12))
def test_one_text_for_each_key_and_none_invented(pairs: list[tuple[str, str]]) -> None:
    kept = farthest(pairs)
    assert list(kept) == list(dict.fromkeys(key for key, _ in pairs))
    assert set(kept.items()) <= set(pairs)
