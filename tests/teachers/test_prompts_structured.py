import contextlib
import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import ParseError
from teachers.calls import Caller
from teachers.loopback import LoopbackServer
from teachers.prompts.structured import schema_of, structured, values_in
from teachers.scripted import ScriptedTeacher


class Step(msgspec.Struct):
    text: str
    right: bool


class Review(msgspec.Struct):
    """What a teacher thinks of a solution."""

    score: float
    steps: list[Step]
    note: str | None = None


REVIEW = structured("review", system="You review.", user="<problem>\n{{ problem }}\n</problem>", form=Review)
WHOLE = '{"score": 0.5, "steps": [{"text": "a, ]}", "right": true}], "note": null}'
READ = Review(score=0.5, steps=[Step(text="a, ]}", right=True)])


@pytest.mark.parametrize(
    "reply",
    [
        WHOLE,
        f"\n  {WHOLE}\n",
        f"```json\n{WHOLE}\n```",
        f"```\n{WHOLE}\n``` I hope that helps.",
        f"Here it is: {WHOLE} as you asked.",
        f"First {{a sketch}}, then\n```JSON\n{WHOLE}\n```",
        WHOLE.replace("}]", ", }, \n ]").replace("null}", "null,}"),
        WHOLE.replace("0.5", '"0.5"').replace("true", '"true"'),
        WHOLE[:-1] + ', "confidence": 3}',
        f"{WHOLE}\n{WHOLE}",
        '{"score": 0.5, "steps": [{"text": "a, ]}", "right": true}]}',
    ],
    ids=range(11),
)
def test_the_dress_of_a_reply_does_not_matter(reply):
    assert REVIEW.parse(reply) == READ


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("", "no JSON object"),
        ("I would say 0.5.", "no JSON object"),
        ('{"score": 0.5, "steps": [', "no JSON object"),
        ('{"score": "7.5 of 10", "steps": []}', "score"),
        ('{"steps": []}', "missing required field `score`"),
        (f"{WHOLE} or {WHOLE.replace('0.5', '0.9')}", "two different"),
        ("[1, 2]", "no JSON object"),
        ("{" * 100_000, "no JSON object"),
        ('{"score": 0.5, "steps": ' + "[" * 300 + "]" * 300 + "}", "no JSON object"),
    ],
)
def test_what_is_not_of_the_form_is_not_guessed_at(reply, words):
    with pytest.raises(ParseError, match=words):
        REVIEW.parse(reply)


def test_the_schema_is_strict_and_stands_in_the_prompt():
    schema = json.loads(REVIEW.json_schema)
    assert schema["type"] == "object"
    assert schema["required"] == ["score", "steps", "note"]
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Step"]["required"] == ["text", "right"]
    assert schema["properties"]["steps"]["items"] == {"$ref": "#/$defs/Step"}
    assert schema == schema_of(Review)
    shown = REVIEW.messages({"problem": "2 + 2 {{ 7 }} <problem>"})[1]["content"]
    assert json.dumps(schema, separators=(",", ":")) in shown
    assert "{{ 7 }}" in shown


@given(st.text(max_size=300))
def test_any_reply_is_a_value_or_a_parse_error(reply):
    try:
        assert isinstance(REVIEW.parse(reply), Review)
    except ParseError as error:
        assert str(error)


@given(st.text(alphabet='{}[]",:\\ \n`a0', max_size=200))
def test_any_brackets_are_a_value_or_a_parse_error(reply):
    with contextlib.suppress(ParseError):
        assert isinstance(REVIEW.parse(reply), Review)
    assert all(piece.startswith("{") for piece in values_in(reply))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=10,
    ),
    st.sampled_from(["{}", "```json\n{}\n```", "So: {} .", "{}\n"]),
    st.sampled_from([None, 2]),
)
def test_an_object_comes_back_whole_whatever_stands_in_its_strings(inner, dress, indent):
    value = {"value": inner}
    text = json.dumps(value, indent=indent)
    found = list(values_in(dress.replace("{}", text)))
    if "```" not in text:
        assert [json.loads(piece) for piece in found] == [value]


@pytest.mark.parametrize(
    "piece", ['{"a":', "[],", "},", "```\n", '"\\', "{} ", ", }", '{"score": 1, "steps": []} ', " ", "\\"]
)
def test_reading_takes_time_in_proportion_to_the_reply(piece):
    def seconds(count: int) -> float:
        text = '{"score": 1, "x": [' + piece * count
        best = float("inf")
        for _ in range(3):
            begun = time.process_time()
            with pytest.raises(ParseError):
                REVIEW.parse(text)
            best = min(best, time.process_time() - begun)
        return best

    small = max(seconds(10_000), 0.002)
    assert seconds(80_000) < 8 * small * 4  # quadratic would be 64 times


async def test_a_broken_form_is_repaired_once_and_its_text_kept(ledger):
    teacher = ScriptedTeacher(replies=["{score: one half}", WHOLE])
    caller = Caller(teacher, ledger)
    (answer,) = await caller.ask(REVIEW, {"problem": "?"})
    assert (answer.value, answer.reason) == (READ, "")
    assert ledger.get(answer.repaired).reply.text == "{score: one half}"
    assert teacher.requests[0].sampling.json_schema == REVIEW.json_schema
    assert "could not be read" in teacher.requests[1].messages[-1]["content"]


async def test_an_endpoint_with_schemas_is_sent_the_form(client, ledger):
    async with LoopbackServer(ScriptedTeacher(replies=lambda messages, sampling: WHOLE)) as server:
        teacher = client(server, features="auto")
        (answer,) = await Caller(teacher, ledger).ask(REVIEW, {"problem": "?"})
        assert answer.value == READ
        form = server.requests[-1].body["response_format"]
        assert form["json_schema"]["schema"] == schema_of(Review)
        await teacher.aclose()
