import pytest

from lessons.errors import TeacherError
from lessons.records import Message
from teachers.base import Reply, Sampling, Teacher
from teachers.scripted import ScriptedTeacher


def user(text: str) -> list[Message]:
    return [Message(role="system", content="Be brief."), Message(role="user", content=text)]


async def test_a_list_is_said_in_order_and_ends():
    refusal = Reply(text="", finish="refused")
    teacher: Teacher = ScriptedTeacher(replies=["one", refusal])
    assert await teacher.ask(user("a"), Sampling()) == Reply(text="one", usd=0.0)
    assert await teacher.ask(user("b"), Sampling()) == refusal
    with pytest.raises(TeacherError, match="ends after 2 replies"):
        await teacher.ask(user("c"), Sampling())
    await teacher.aclose()


async def test_a_mapping_looks_into_the_last_user_message():
    teacher = ScriptedTeacher(replies={"2 + 2": "4", "2": "two", "down": TeacherError("down", retryable=True)})
    assert (await teacher.ask(user("What is 2 + 2?"), Sampling())).text == "4"
    assert (await teacher.ask([*user("2 + 2"), *user("Say 2.")], Sampling())).text == "two"
    with pytest.raises(TeacherError, match="down"):
        await teacher.ask(user("down"), Sampling())
    with pytest.raises(TeacherError, match="no line for 'nothing'"):
        await teacher.ask(user("nothing"), Sampling())


async def test_a_function_sees_the_request_and_may_be_async():
    async def later(messages, sampling):
        return f"{messages[-1]['content']} {sampling.seed}"

    sampling = Sampling(seed=3)
    for function in (later, lambda messages, sampling: f"{messages[-1]['content']} {sampling.seed}"):
        teacher = ScriptedTeacher(replies=function)
        assert (await teacher.ask(user("seed"), sampling)).text == "seed 3"
        assert teacher.requests == [(tuple(user("seed")), sampling)]
