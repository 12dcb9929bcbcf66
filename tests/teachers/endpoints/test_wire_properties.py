"""Whatever an endpoint sends is replies or a TeacherError, in linear time, and no token is lost or counted twice."""

import gc
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import TeacherError
from teachers.base import Reply, Usage
from teachers.wire import read_completion, read_completions, read_error, split_thoughts

numbers = st.integers(-5, 2**70) | st.floats() | st.sampled_from([12.0, -0.0, 1e308, 10**400])
scalars = st.none() | st.booleans() | numbers | st.text(max_size=6) | st.sampled_from(["<think>", "</think>", "\ud83d"])
NAMES = """choices message content index finish_reason usage error code details type text prompt_tokens
completion_tokens_details reasoning_tokens violations quotaId retryDelay"""
names = st.sampled_from(NAMES.split())
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))
parts = st.fixed_dictionaries({}, optional={"type": st.just("text") | values, "text": values})
messages = st.fixed_dictionaries(
    {},
    optional={
        "content": values | st.lists(parts | values, max_size=3),
        "refusal": values,
        "reasoning": values,
        "reasoning_content": values,
    },
)
choices = st.fixed_dictionaries(
    {}, optional={"message": messages | values, "finish_reason": values | st.just("stop"), "index": values}
)
completions = st.fixed_dictionaries(
    {"choices": st.lists(choices | values, max_size=4) | values},
    optional={"usage": values, "model": values, "error": values},
)


def read(body: bytes) -> list[Reply] | None:
    """Both readers of one body; they must agree on whether it is a completion."""
    try:
        replies = read_completions(body)
    except TeacherError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 700
        with pytest.raises(TeacherError):
            read_completion(body)
        return None
    first = read_completion(body)
    assert (first.text, first.finish, first.reasoning) == (replies[0].text, replies[0].finish, replies[0].reasoning)
    assert len(replies) > 1 or first == replies[0]
    for reply in replies:
        f"{reply.text}{reply.reasoning}{reply.detail}{reply.model}".encode()  # fit for a file
    return replies


@given(st.binary(max_size=80) | values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes(body: bytes) -> None:
    read(body)


@given(completions)
def test_anything_in_the_form_of_a_completion(value: Any) -> None:
    replies = read(json.dumps(value).encode())
    if replies is not None:
        assert len(replies) == len(value["choices"])


def body_of(texts: list[str], usage: Any, order: list[int] | None = None, **fields: Any) -> bytes:
    said = [{"index": i, "message": {"content": text}, "finish_reason": "stop"} for i, text in enumerate(texts)]
    return json.dumps({"choices": [said[i] for i in order or range(len(said))], "usage": usage, **fields}).encode()


counts = st.none() | st.integers(0, 10**6)


@given(st.lists(st.text("ab ", max_size=30), min_size=1, max_size=6), counts, counts, counts, counts, counts)
def test_no_token_is_lost_or_counted_twice(texts, prompt, cached, completion, reasoning, total) -> None:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    body = body_of(texts, usage)
    whole, shares = read_completion(body).usage, [reply.usage for reply in read_completions(body)]
    for kind in ("prompt", "cached_prompt", "completion", "reasoning"):
        told = [getattr(share, kind) for share in shares]
        if getattr(whole, kind) is None:
            assert told == [None] * len(texts)
        else:
            assert sum(told) == getattr(whole, kind)
            assert min(told) >= 0
    assert all(share.prompt in (0, None) and share.cached_prompt in (0, None) for share in shares[1:])
    for share in shares:
        assert share.completion is None or (share.reasoning or 0) <= share.completion
    if None not in (prompt, completion, total):
        assert whole.completion == max(completion, total - prompt)


@given(st.permutations(range(5)))
def test_replies_stand_in_the_order_of_their_index(order) -> None:
    texts = ["zero", "one", "two", "three", "four"]
    usage = {"prompt_tokens": 9, "completion_tokens": 21, "total_tokens": 30}
    assert read_completions(body_of(texts, usage, order)) == read_completions(body_of(texts, usage))
    assert [reply.text for reply in read_completions(body_of(texts, usage, order))] == texts


def test_shares_by_length() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 31, "total_tokens": 40}
    replies = read_completions(body_of(["a", "aa", ""], usage))
    assert [reply.usage for reply in replies] == [
        Usage(prompt=9, completion=11),
        Usage(prompt=0, completion=20),
        Usage(prompt=0, completion=0),
    ]
    assert [reply.usage for reply in read_completions(body_of(["", ""], usage))] == [
        Usage(prompt=9, completion=16),
        Usage(prompt=0, completion=15),
    ]


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        ({"prompt_tokens": 21, "completion_tokens": 0, "total_tokens": 81},
            Usage(prompt=21, completion=60, reasoning=60)),
        (
            {
                "prompt_tokens": 21,
                "completion_tokens": 2,
                "total_tokens": 83,
                "completion_tokens_details": {"reasoning_tokens": 60},
            },
            Usage(prompt=21, completion=62, reasoning=60),
        ),
        ({"prompt_tokens": 12.0, "completion_tokens": 5.0}, Usage(prompt=12, completion=5)),
        ({"prompt_tokens": "12", "completion_tokens": 5}, Usage(completion=5)),
        ({"prompt_tokens": 12.5, "completion_tokens": 5}, Usage(completion=5)),
        ({"prompt_tokens": True, "completion_tokens": -1, "total_tokens": 10**400}, Usage()),
        ({"prompt_tokens": 3, "total_tokens": 9}, Usage(prompt=3, completion=6)),
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 5}, Usage(prompt=3, completion=4)),
        ({"prompt_tokens_details": [1], "completion_tokens_details": None}, Usage()),
        ([1, 2], Usage()),
        ("none", Usage()),
    ],
    ids=str,
)  # fmt: skip
def test_counts(usage: Any, told: Usage) -> None:
    assert read_completion(body_of(["4"], usage)).usage == told


def test_numbers_that_are_none_do_not_cost_the_reply() -> None:
    body = b'{"choices": [{"message": {"content": "4"}, "finish_reason": "stop", "index": NaN}],'
    body += b' "usage": {"prompt_tokens": NaN, "completion_tokens": Infinity, "total_tokens": -1}}'
    assert read_completion(body) == Reply(text="4", detail="stop")


DEEP = 100_000
BOMBS = ["[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP, "[" * DEEP]


@pytest.mark.parametrize("bomb", BOMBS, ids=["lists", "objects", "unclosed"])
@pytest.mark.parametrize("place", ["%s", '{"choices": %s}', '{"usage": %s, "choices": [{"message": {}}]}',
    '{"error": %s}', '{"choices": [{"message": {"content": [%s]}}]}', '{"x": %s}'])  # fmt: skip
def test_nesting_bombs(bomb: str, place: str) -> None:
    read((place % bomb).encode())


def test_errors_that_are_plain_words() -> None:
    assert str(read_error(500, {"error": "out of memory"}, {})) == "the endpoint answered 500: out of memory"
    assert str(read_error(500, [{"error": "out of memory"}], {})) == "the endpoint answered 500: out of memory"
    assert str(read_error(503, [], {})) == "the endpoint answered 503: no message"


def nested(depth: int) -> Any:
    value: Any = "the end"
    for _ in range(depth):
        value = {"error": [value]}
    return value


headers = st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), st.text(st.characters(max_codepoint=126)))
statuses = st.none() | st.sampled_from([200, 400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 503, 529])


@given(statuses, values | st.lists(st.fixed_dictionaries({"error": values}), max_size=2), headers)
def test_any_error_answer(status: int | None, body: Any, told: dict[str, str]) -> None:
    error = read_error(status, body, told)
    assert isinstance(error, TeacherError)
    assert "\n" not in str(error)
    assert len(str(error)) < 700
    assert not (error.fatal and error.retryable)
    assert error.retry_after is None or error.retry_after >= 0


@pytest.mark.parametrize("depth", [500, 100_000])
def test_error_answers_nested_too_deep(depth: int) -> None:
    value = nested(depth)
    assert len(str(read_error(500, value, {}))) < 700
    assert len(str(read_error(429, [{"error": {"message": value, "details": value, "code": 10**5000}}], {}))) < 700
    while isinstance(value, dict):  # taken apart by hand: a destructor that recurses would be CPython's matter
        value = value.pop("error").pop()


@given(st.text(max_size=40) | st.lists(st.sampled_from(["<think>", "</think>", "<thought>", "</thought>", " ", "a"]))
       .map("".join))  # fmt: skip
def test_thoughts_and_answer_are_parts_of_the_text(text: str) -> None:
    thoughts, answer = split_thoughts(text)
    assert text.endswith(answer)
    assert all(thought in text for thought in thoughts.split("\n"))
    assert not answer.lstrip().startswith(("<think>", "<thought>"))
    assert not (thoughts and answer[:1].isspace())


def test_thoughts_may_come_in_several_pieces() -> None:
    assert split_thoughts("<think>one</think>\n<think> two </think>\n4") == ("one\ntwo", "4")
    assert split_thoughts("one</think><think>two</think>4") == ("one\ntwo", "4")
    assert split_thoughts("<think></think><think>cut") == ("cut", "")
    assert split_thoughts("4, as <think> says") == ("", "4, as <think> says")


def test_thoughts_of_google_stand_in_tags_of_their_own() -> None:
    assert split_thoughts("<thought>two and two</thought>\n4") == ("two and two", "4")
    assert split_thoughts("<thought>cut") == ("cut", "")
    assert split_thoughts("a </thought> b") == ("", "a </thought> b")


def reading(text: Callable[[int], str]) -> Callable[[int], Callable[[], object]]:
    def prepared(size: int) -> Callable[[], object]:
        body = json.dumps({"choices": [{"message": {"content": text(size)}, "finish_reason": "stop"}]}).encode()
        return lambda: read_completions(body)

    return prepared


def failing(text: Callable[[int], str]) -> Callable[[int], Callable[[], object]]:
    def prepared(size: int) -> Callable[[], object]:
        body = {"error": {"message": text(size), "details": [{"retryDelay": text(size)}] * 3}}
        return lambda: read_error(429, body, {"retry-after": text(size)})

    return prepared


LONG_ONES: dict[str, Callable[[int], Callable[[], object]]] = {
    "opened": reading(lambda n: "<think>" * n),
    "closed": reading(lambda n: "</think>" * n),
    "thought": reading(lambda n: "<thought>" + "</thought" * n),
    "spaces": reading(lambda n: " \n" * n + "<think>" + "\t" * n),
    "surrogates": reading(lambda n: "\ud83d" * n),
    "choices": lambda n: (lambda body: lambda: read_completions(body))(body_of(["a"] * (n // 8), {"prompt_tokens": 1})),
    "parts": lambda n: (lambda body: lambda: read_completions(body))(
        json.dumps({"choices": [{"message": {"content": [{"type": "text", "text": "a"}] * (n // 4)}}]}).encode()
    ),
    "not JSON": lambda n: (lambda body: lambda: _fails(body))(b'{"choices": ' + b"\x00\n" * n),
    "waits": failing(lambda n: "try again in " + "1s" * n),
    "numbers": failing(lambda n: "retry in " + "1" * n),
    "names": failing(lambda n: 'Unknown name "' * n),
    "controls": failing(lambda n: "\x1b\n" * n),
}


def _fails(body: bytes) -> None:
    with pytest.raises(TeacherError):
        read_completions(body)


def seconds(work: Callable[[], object]) -> float:
    best = float("inf")
    gc.disable()  # as timeit does: its passes go over all that the test process holds
    try:
        for _ in range(5):
            started = time.thread_time()  # the thread's own time: a busy machine does not count
            work()
            best = min(best, time.thread_time() - started)
    finally:
        gc.enable()
    return best


@pytest.mark.parametrize("prepared", LONG_ONES.values(), ids=LONG_ONES.keys())
def test_time_grows_with_length_and_no_faster(prepared: Callable[[int], Callable[[], object]]) -> None:
    small, large = 20_000, 320_000
    slack = 0.005  # seconds: what is this fast at the larger size needs no growth measured
    assert seconds(prepared(large)) < slack + 80 * seconds(prepared(small))  # 16 times linear, 256 times quadratic
