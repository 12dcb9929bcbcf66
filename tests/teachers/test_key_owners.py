"""A provider's key goes to that provider alone: a recipe that names another address gets nothing, and is told so."""

from pathlib import Path

import pytest
import yaml

from lessons.errors import TeacherError
from lessons.records import Message
from teachers.base import Sampling
from teachers.batch import BatchTeacher
from teachers.key_owners import OWNERS, check_owner, variables_of
from teachers.loopback import LoopbackServer
from teachers.openai import OpenAITeacher
from teachers.rule_tutor import RuleTutor
from teachers.vllm_scores import VLLMScores

ROOT = Path(__file__).parents[2]
CHAT = [Message(role="user", content="7 + 8?")]


@pytest.mark.parametrize("name", OWNERS)
def test_a_key_goes_to_its_owner_and_to_nobody_else(name: str) -> None:
    for domain in OWNERS[name]:
        check_owner([name], f"https://{domain}/v1")
        check_owner([name], f"https://API.Some-Thing.{domain}.:8443/v1")
        for host in (f"{domain}.evil.example", f"evil{domain}", "evil.example", "10.0.0.7", f"evil.example/{domain}"):
            with pytest.raises(TeacherError, match=rf"the key in {name} is for .* nothing was sent") as refused:
                check_owner(["", "MY_OWN", name], f"https://{host}/v1")
            assert refused.value.fatal
    for host in ("127.0.0.1:8000", "localhost", "[::1]:1"):
        check_owner([name], f"http://{host}/v1")


def test_a_name_of_ones_own_goes_anywhere() -> None:
    check_owner(["ENDPOINT_KEY", ""], "https://evil.example/v1")
    assert variables_of("A", {"X-One": "$B", "X-Two": "plain"}) == ["A", "B"]


async def test_nothing_is_sent_by_any_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-real-looking-key-0123456789")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another0123456789")
    with LoopbackServer(RuleTutor()) as server:
        # 127.1 is this machine, and none of its usual names: were a request made, the server would see it.
        elsewhere = server.base_url.replace("127.0.0.1", "127.1")
        header = {"X-Key": "$AWS_SECRET_ACCESS_KEY"}
        for asking in (
            OpenAITeacher(model="m", base_url=elsewhere),
            OpenAITeacher(model="m", base_url=elsewhere, key="", headers=header),
        ):
            with pytest.raises(TeacherError, match="nothing was sent"):
                await asking.ask(CHAT, Sampling(max_tokens=4))
        with pytest.raises(TeacherError, match="nothing was sent"):
            await VLLMScores(model="m", base_url=elsewhere, key="OPENAI_API_KEY").score(CHAT, "15")
        batch = BatchTeacher(model="m", base_url=elsewhere, gather=0.0, poll=0.01)
        try:
            with pytest.raises(TeacherError, match="nothing was sent"):
                await batch.ask(CHAT, Sampling(max_tokens=4))
        finally:
            await batch.aclose()
        assert server.requests == []


def test_every_documented_endpoint_goes_with_its_key() -> None:
    seen = 0
    for page in sorted((ROOT / "docs" / "endpoints").glob("*.md")):
        for block in page.read_text(encoding="utf-8").split("```yaml\n")[1:]:
            told = yaml.safe_load(block.partition("```")[0])
            teacher = told.get("teacher", {}) if isinstance(told, dict) else {}
            if isinstance(teacher, dict) and "key" in teacher:
                check_owner([teacher["key"]], teacher.get("base_url", "https://api.openai.com/v1"))
                seen += 1
    assert seen >= 5
