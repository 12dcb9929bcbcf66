"""Length, language, leaks: each rule by hand, and any text at all without an error."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import InputError
from lessons.graders.numeric import NumericGrader
from lessons.records import Message
from loops.filters.base import Context
from loops.filters.format import Format
from loops.filters.language import Language
from loops.filters.leak import Leak
from loops.filters.length import Length
from loops.filters.verified import Verified
from loops.likeness.languages import language_of
from loops.likeness.leaks import shared_run, telling_phrase, told_answer
from loops.scores import Scores
from tests.loops.filtering import CONTEXT, lesson, reasons

SENTENCES = {
    "en": "Tom has three apples and his sister gives him two more. How many apples does he have now?",
    "de": "Tom hat drei Äpfel und seine Schwester gibt ihm zwei weitere. Wie viele Äpfel hat er jetzt?",
    "fr": "Tom a trois pommes et sa sœur lui en donne deux de plus. Combien de pommes a-t-il maintenant ?",
    "es": "Tom tiene tres manzanas y su hermana le da dos más. ¿Cuántas manzanas tiene ahora?",
    "it": "Tom ha tre mele e sua sorella gliene dà altre due. Quante mele ha adesso?",
    "pt": "O Tom tem três maçãs e a irmã dá-lhe mais duas. Quantas maçãs tem ele agora?",
    "nl": "Tom heeft drie appels en zijn zus geeft hem er nog twee. Hoeveel appels heeft hij nu?",
    "sv": "Tom har tre äpplen och hans syster ger honom två till. Hur många äpplen har han nu?",
    "pl": "Tomek ma trzy jabłka, a jego siostra daje mu jeszcze dwa. Ile jabłek ma teraz, jeśli nie zjadł ich w domu?",
    "tr": "Tom'un üç elması var ve kız kardeşi ona iki tane daha veriyor. Şimdi toplam kaç elması var?",
    "vi": "Tom có ba quả táo và chị gái cho anh ấy thêm hai quả. Bây giờ anh ấy có bao nhiêu quả táo?",
    "id": "Tom mempunyai tiga apel dan kakaknya memberi dia dua lagi. Berapa banyak apel yang dia punya sekarang?",
    "ru": "У Тома три яблока, и сестра даёт ему ещё два. Сколько яблок у него теперь есть?",
    "uk": "У Тома три яблука, і сестра дає йому ще два. Скільки яблук він має тепер?",
    "el": "Ο Τομ έχει τρία μήλα.",
    "hi": "टॉम के पास तीन सेब हैं।",
    "ko": "톰은 사과 세 개를 가지고 있습니다.",
    "ja": "トムはりんごを三つ持っています。今いくつありますか。",
    "zh": "汤姆有三个苹果,他的妹妹又给了他两个。他现在有多少个苹果?",
}


@pytest.mark.parametrize(("code", "sentence"), SENTENCES.items())
def test_a_plain_sentence_or_two_is_enough_to_tell_a_language(code: str, sentence: str) -> None:
    assert language_of(sentence) == code
    verdict = "kept" if code == "en" else "another script" if code in _OTHER_SCRIPTS else "another language"
    assert reasons(Language(), [lesson("What?", sentence)]) == [verdict]
    assert reasons(Language(expected=code), [lesson("7 + 5 = ?", sentence)]) == ["kept"]


_OTHER_SCRIPTS = ("ru", "uk", "el", "hi", "ko", "ja", "zh")


@pytest.mark.parametrize(
    "text", ["12 + 5 = 17. Answer: 17", "Answer: Paris", "f(x) = 7x + 2α", "", "7 apples, 3 apples: 21 apples"]
)
def test_formulas_and_short_answers_cannot_be_told_and_are_kept(text: str) -> None:
    assert language_of(text) is None
    assert reasons(Language(), [lesson("17?", text)]) == ["kept"]
    told = "language cannot be told" if any(sign.isalpha() for sign in text) else "kept"
    assert reasons(Language(untold="drop", of="completion"), [lesson("17?", text)]) == [told]


def test_prompt_and_completion_are_judged_each_by_itself() -> None:
    slipped = lesson(SENTENCES["en"] * 5, SENTENCES["zh"])
    assert reasons(Language(), [slipped]) == ["another script"]
    assert reasons(Language(of="prompt"), [slipped]) == ["kept"]
    quoted = lesson(SENTENCES["en"], f"{SENTENCES['en']} In Chinese that is 苹果.")
    assert reasons(Language(), [quoted]) == ["kept"]  # 2 of 73 letters
    assert reasons(Language(foreign=0.0), [quoted]) == ["another script"]


def test_an_unknown_language_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match="expected must be one of ar bg bn de"):
        Language(expected="English")


@given(text=st.text(max_size=200))
def test_any_text_can_be_judged(text: str) -> None:
    one = lesson(text, text, answer=text, solution=text)
    for judge in (Language(untold="drop"), Leak(completion=True), Length(unit="characters")):
        assert len(judge.judge([one], CONTEXT)) == 1


@pytest.mark.parametrize(
    ("knobs", "question", "completion", "reason"),
    [
        ({}, "one two", "three", "kept"),
        ({}, "one two", "", "completion too short"),
        ({}, "...", "three", "prompt too short"),
        ({"prompt_most": 2}, "one two three", "a", "prompt too long"),
        ({"prompt_most": 3}, "one two three", "a", "kept"),
        ({"completion_most": 2}, "one", "a b c", "completion too long"),
        ({"unit": "characters", "completion_least": 6}, "one", "a b c", "completion too short"),
        ({"unit": "characters", "completion_least": 5}, "one", "a b c", "kept"),
        ({"ratio_most": 1.5}, "one two", "a b c d", "completion too long for its prompt"),
        ({"ratio_least": 2.0}, "one two", "a b c d", "kept"),
        ({"ratio_least": 2.1}, "one two", "a b c d", "completion too short for its prompt"),
    ],
)
def test_length(knobs: dict[str, Any], question: str, completion: str, reason: str) -> None:
    assert reasons(Length(**knobs), [lesson(question, completion)]) == [reason]


def test_length_of_a_pair_and_of_tokens() -> None:
    pair = lesson("one", "a b", rejected="a b c d")
    assert reasons(Length(completion_most=3), [pair]) == ["rejected completion too long"]
    system: Message = {"role": "system", "content": "Think hard and long."}
    with_system = lesson("one", prompt=(system, {"role": "user", "content": "one"}))
    assert reasons(Length(prompt_most=1), [with_system]) == ["kept"]
    with pytest.raises(InputError, match="no student here that counts tokens"):
        reasons(Length(unit="tokens"), [pair])
    from students.open import open_student

    context = Context(grader=CONTEXT.grader, scores=Scores(None, {"now": lambda: open_student("tiny")}))
    assert reasons(Length(unit="tokens", completion_most=3), [lesson("é", "abc"), lesson("é", "é é")], context) == [
        "kept",  # the tiny student has a token for each byte
        "completion too long",
    ]
    assert reasons(Length(unit="tokens", prompt_least=2, prompt_most=2), [lesson("é", "abc")], context) == ["kept"]


@pytest.mark.parametrize("knobs", [{"prompt_least": -1}, {"completion_least": 5, "completion_most": 4}])
def test_bounds_out_of_order_are_refused(knobs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least 0 and in order"):
        Length(**knobs)


SOLUTION = "She sells nine of the forty eggs so thirty-one remain and they fill five boxes"
QUESTION = "A farmer has forty eggs and sells nine. How many are left?"


def prompted(text: str, completion: str = "Forty less nine.\nAnswer: 31", **more: Any) -> Any:
    return lesson(
        QUESTION, completion, answer="31", solution=SOLUTION, prompt=({"role": "user", "content": text},), **more
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (QUESTION, "kept"),
        (f"{QUESTION}\nHint: sells nine of the forty eggs so thirty one", "reference solution in the prompt"),
        (f"{QUESTION}\nHint: sells nine of the forty eggs", "kept"),  # six words in a row are no run of eight
        (f"{QUESTION}\nThe answer is 31.", "answer in the prompt"),
        (f"{QUESTION}\nReference: **31**", "answer in the prompt"),
        (f"{QUESTION}\nIt happened in the year 31 of his reign.", "kept"),  # a number that merely occurs
        (f"{QUESTION}\nThe answer is not 30.", "kept"),
    ],
)
def test_what_a_prompt_may_not_show(text: str, reason: str) -> None:
    assert reasons(Leak(), [prompted(text)]) == [reason]


def test_the_question_s_own_words_and_earlier_turns_are_no_leak() -> None:
    own = lesson(SOLUTION, "So it is.\nAnswer: 5", answer="5", solution=SOLUTION)
    assert reasons(Leak(), [own]) == ["kept"]
    turns = (
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": f"{SOLUTION}. The answer is 31"},
        {"role": "user", "content": "Look again."},
    )
    assert reasons(Leak(), [lesson(QUESTION, answer="31", solution=SOLUTION, prompt=turns)]) == ["kept"]
    critique = prompted(f"{QUESTION}\n{SOLUTION}\nAnswer: 31", "It is right.\nConclusion: right", verdict="right")
    assert reasons(Leak(), [critique]) == ["kept"]
    chosen = lesson("Which? The answer is A or B", "It is A.\nAnswer: A", answer="A", choices=("A", "B"))
    assert reasons(Leak(), [chosen]) == ["kept"]


def test_told_answer_by_hand() -> None:
    assert told_answer("1,000", "so the final result must be 1000 or rather, Answer: 1,000")
    assert not told_answer("7", "What is the result of 7 + 5?")
    assert not told_answer("7", "The answer is 17")
    assert not told_answer("", "The answer is ")
    assert told_answer("the park", "the answer is the park")
    assert told_answer("4", "answer answer the 4")


@pytest.mark.parametrize(
    "phrase",
    [
        "according to the reference",
        "As the hint says",
        "the reference answer is 31",
        "which matches the given answer",
        "this agrees with the provided solution",
        "by the answer key",
        "We know that the answer is 31",
        "I was told the final answer",
        "the expert's trajectory goes",
        "the ground-truth answer",
        "from the privileged state",
    ],
)
def test_phrases_that_betray_the_teacher_s_sight(phrase: str) -> None:
    told = prompted(QUESTION, f"Forty less nine, {phrase}.\nAnswer: 31")
    assert reasons(Leak(), [told]) == ["speaks of what the student does not see"]
    shown = prompted(f"{QUESTION} Say also: {phrase}", f"Forty less nine, {phrase}.\nAnswer: 30")
    assert telling_phrase(shown.completion, shown.prompt[0]["content"]) is None


@pytest.mark.parametrize(
    "harmless",
    ["The correct answer is 31", "So the answer is 31", "we are given forty eggs", "Here is a hint of doubt"],
)
def test_phrases_that_everybody_writes_are_kept(harmless: str) -> None:
    assert reasons(Leak(), [prompted(QUESTION, f"{harmless}.\nAnswer: 31")]) == ["kept"]


def test_given_solution_is_no_leak_where_the_prompt_has_a_solution() -> None:
    text = f"{QUESTION}\nCheck this solution: 40 - 9 = 30"
    critique = prompted(text, "The given solution slips.\nConclusion: wrong", verdict="wrong")
    assert reasons(Leak(), [critique]) == ["kept"]
    assert reasons(Leak(phrases=("slips",)), [critique]) == ["speaks of what the student does not see"]


def test_privileged_text() -> None:
    fact = "the blue mug stands in the third drawer from the left"
    privileged = ({"role": "system", "content": fact}, {"role": "user", "content": QUESTION})
    assert reasons(Leak(), [prompted(QUESTION, privileged=privileged)]) == ["kept"]
    shown = prompted(f"{QUESTION} Note: {fact}.", privileged=privileged)
    assert reasons(Leak(), [shown]) == ["privileged text in the prompt"]
    told = prompted(QUESTION, f"Look: the BLUE mug stands in the third drawer.\n{QUESTION}", privileged=privileged)
    assert reasons(Leak(), [told]) == ["kept"]  # a completion may be meant to carry it over
    assert reasons(Leak(completion=True, run=6), [told]) == ["privileged text in the completion"]
    same = lesson(QUESTION, prompt=privileged, privileged=privileged)
    assert reasons(Leak(), [same]) == ["the prompt is the privileged chat"]


def test_a_short_secret_is_looked_for_as_a_whole() -> None:
    assert shared_run("open the third drawer", "now open the third DRAWER please", [], 8) == "open the third drawer"
    assert shared_run("third drawer", "the third drawer", [], 8) is None  # of fewer than four words nothing can be said
    assert shared_run("open the third drawer", "open the third drawer", ["open the third drawer"], 8) is None


def test_bad_examples_must_be_wrong_and_need_no_readable_answer() -> None:
    bad = [lesson("2+2?", text, desirable=False) for text in ("Answer: 5", "Answer: 4", "five")]
    assert reasons(Verified(), bad) == ["kept", "a bad example that is right", "kept"]
    numeric = Context(grader=NumericGrader())
    assert reasons(Format(), bad, numeric) == ["kept"] * 3
    assert reasons(Format(), [lesson("2+2?", "five")], numeric) == ["no final answer"]
