"""A student that answers through a server, against one that computes the answers for real and misbehaves on demand."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lessons.errors import StudentError
from lessons.records import Lesson, Message
from students.base import Answer, Generation, Training
from students.decode import decode
from students.hf import HFStudent
from students.served import ServedStudent
from students.serving import Address, Serving, read_reply
from students.tiny import TinyBase, tiny

Ask = Callable[[str], tuple[Message, ...]]
WORDS = ("red", "green", "blue", "cyan", "white", "black", "red")


class Completions:
    """Serves /v1/completions as vLLM does, computed by a student in this process, one request at a time."""

    def __init__(self) -> None:
        self.student: HFStudent | None = None
        self.model = ""
        """The name under which it answers."""
        self.asked: list[dict[str, Any]] = []
        self.faults: list[Callable[[dict[str, Any]], web.Response]] = []
        """What the next requests get in the place of an answer."""
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._turn = threading.Lock()
        threading.Thread(target=self._serve, daemon=True).start()
        self._ready.wait()

    def _serve(self) -> None:
        async def begin() -> None:
            app = web.Application()
            app.router.add_post("/v1/completions", self.complete)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = site._server.sockets[0].getsockname()[1]
            self._ready.set()

        self._loop.run_until_complete(begin())
        self._loop.run_forever()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def complete(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer secret"
        body = await request.json()
        self.asked.append(body)
        if self.faults:
            return self.faults.pop(0)(body)
        if body["model"] != self.model:
            return web.json_response({"error": {"message": f"The model {body['model']} does not exist."}}, status=404)
        tokens = await asyncio.to_thread(self.written, body)
        finish = "stop" if tokens[-1] in body["stop_token_ids"] else "length"
        return web.json_response(reply(body, tokens, finish))

    def written(self, body: dict[str, Any]) -> list[int]:
        import torch

        student, stop = self.student, body.get("stop", [])
        with self._turn:
            (tokens,) = decode(
                student._model(torch.float32),
                [body["prompt"]],
                stops=frozenset(body["stop_token_ids"]),
                padding=student.tokenizer.pad_token_id,
                max_tokens=body["max_tokens"],
                temperature=body["temperature"],
                seeds=[body.get("seed", 0)],
                is_over=student._is_over(stop),
            )
        return tokens


def reply(body: dict[str, Any], tokens: Sequence[int], finish: str) -> dict[str, Any]:
    choice = {"text": "?", "finish_reason": finish, "token_ids": list(tokens), "prompt_token_ids": body["prompt"]}
    return {"model": body["model"], "choices": [choice]}


class StandIn:
    """A desk that serves what it is asked for at once, and notes what it is told."""

    def __init__(self, server: Completions, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.told: list[Any] = []
        self.seeds = True
        self.gone: list[bool] = []
        """What is said to the next questions whether the server fell."""

    async def up(self, serving: Serving) -> Address:
        if not self.told or self.told[-1] != serving:
            self.told.append(serving)
        self.server.model = serving.name
        return Address(f"http://127.0.0.1:{self.server.port}/v1", "secret", 1, self.seeds)

    async def fell(self, start: int) -> bool:
        self.told.append("fell")
        return self.gone.pop(0) if self.gone else False

    def make_room(self, owner: str) -> None:
        self.told.append(owner)


@pytest.fixture
def server() -> Iterator[Completions]:
    made = Completions()
    yield made
    made.stop()


@pytest.fixture
def desk(server: Completions, tmp_path: Path) -> StandIn:
    return StandIn(server, tmp_path / "served")


@pytest.fixture(scope="module")
def taught(lessons: list[Lesson], tmp_path_factory: pytest.TempPathFactory) -> HFStudent:
    """Says something of its own to every word."""
    training = Training(
        epochs=60, learning_rate=1e-2, batch_size=6, micro_batch_size=6, rank=8, alpha=32, precision="float32"
    )
    return tiny().learn(lessons, tmp_path_factory.mktemp("learned"), training)[0]


RED = Generation(max_tokens=8)


def served(server: Completions, weights: HFStudent, desk: StandIn, **more: Any) -> ServedStudent:
    server.student = weights
    return ServedStudent(weights, desk, **more)


@pytest.mark.parametrize(
    "how",
    [
        Generation(max_tokens=9),
        Generation(max_tokens=9, stop=("e", "l")),
        Generation(max_tokens=12, temperature=1.0),
    ],
)
def test_answers_are_those_of_the_weights(server, desk, taught, ask: Ask, how: Generation):
    prompts = [ask(f"say {word}") for word in WORDS]
    seen: list[tuple[int, int]] = []
    student = served(server, taught, desk)
    answers = student.answer(prompts, how, samples=2, seed=3, progress=lambda *now: seen.append(now))
    if not how.temperature:  # a drawn answer is drawn by the server's own means from the same seed
        assert answers == taught.answer(prompts, how, samples=2, seed=3)
        assert {answer.text for (answer, _) in answers} != {""}
    jobs = 12 if how.temperature else 6
    assert [done for done, _ in seen] == [2 // (jobs // 6) * n for n in range(1, jobs + 1)]
    assert {every for _, every in seen} == {12}
    assert len(server.asked) == jobs
    assert len({answer.text for row in answers for answer in row}) > 2
    assert answers[0] == answers[-1]


def test_what_is_asked_is_what_is_trained_on(server, desk, taught, ask: Ask):
    from students.chats import prompt_tokens

    student = served(server, taught, desk)
    student.answer([ask("say red")], Generation(max_tokens=5))
    (body,) = server.asked
    assert body["prompt"] == prompt_tokens(taught.tokenizer, ask("say red"))
    assert body["stop_token_ids"] == sorted(taught.stops)
    assert (body["top_p"], body["top_k"], body["repetition_penalty"], body["temperature"]) == (1.0, 0, 1.0, 0.0)
    assert "seed" not in body
    assert body["model"] == taught.adapter.name


def test_drawn_answers_have_a_seed_of_their_own_each_unless_the_server_takes_none(server, desk, taught, ask: Ask):
    student = served(server, taught, desk)
    how = Generation(max_tokens=4, temperature=1.0)
    first = student.answer([ask("say red")], how, samples=4, seed=1)
    assert first == student.answer([ask("say red")], how, samples=4, seed=1)
    assert first != student.answer([ask("say red")], how, samples=4, seed=2)
    seeds = [body["seed"] for body in server.asked[:4]]
    assert len(set(seeds)) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)
    desk.seeds = False
    student.answer([ask("say red")], how, seed=1)
    assert "seed" not in server.asked[-1]


def test_base_and_adapter_are_never_served_by_one_server(server, desk, taught):
    """tiny has no folder: its base weights are written, with the name of their content."""
    base, adapter = served(server, tiny(), desk).serving, served(server, taught, desk).serving
    assert (base.rank, base.adapter, base.name) == (0, None, "student")
    assert (adapter.rank, adapter.adapter) == (8, taught.adapter.resolve())
    assert adapter.name == taught.adapter.name
    assert base.model == adapter.model  # the same weights, and another server: its rank differs
    merged = served(server, taught, desk, merge=True).serving
    assert (merged.rank, merged.adapter, merged.name) == (0, None, "student")
    assert merged.model != base.model


def test_models_of_a_folder_are_served_from_there(server, desk, tmp_path, lessons, one_step):
    from students.models import FolderBase
    from students.whole import save_whole

    save_whole(tiny(), tmp_path / "model")
    weights = HFStudent(FolderBase(tmp_path / "model"), precision="float32")
    student = served(server, weights, desk)
    assert student.serving == Serving(model=tmp_path / "model")
    after, learned = student.learn(lessons, tmp_path / "learned", one_step)
    assert desk.told == ["training"]
    assert isinstance(after, ServedStudent)
    assert after.serving == Serving(model=tmp_path / "model", rank=4, adapter=tmp_path / "learned" / learned.adapter)
    assert after.digest == after.weights.digest != student.digest


@pytest.mark.parametrize("merge", [False, True])
def test_written_models_answer_as_the_weights_do(server, desk, taught, tmp_path, ask: Ask, merge: bool):
    from students.models import FolderBase

    serving = served(server, taught, desk, merge=merge).serving
    serving.write(tmp_path / "written")
    read_back = HFStudent(FolderBase(tmp_path / "written"), precision="float32")
    expected = taught if merge else tiny()
    prompts = [ask(f"say {word}") for word in WORDS]
    how = Generation(max_tokens=8)
    assert read_back.answer(prompts, how) == expected.answer(prompts, how)


def test_it_scores_here_once_the_server_has_left(server, desk, taught, ask: Ask):
    student = served(server, taught, desk)
    rows = [(ask("say red"), "red"), (ask("say blue"), "red")]
    assert student.score(rows) == taught.score(rows)
    assert desk.told == ["scoring"]
    student.close()
    assert student.name == "tiny"


def test_it_answers_within_a_running_event_loop(server, desk, taught, ask: Ask):
    student = served(server, taught, desk)

    async def method() -> list[list[Answer]]:
        return student.answer([ask("say red")], RED)

    assert asyncio.run(method()) == taught.answer([ask("say red")], RED)


def test_too_long_a_prompt_is_refused_before_anything_is_asked(server, desk, taught, ask: Ask):
    with pytest.raises(StudentError, match="1024 positions"):
        served(server, taught, desk).answer([ask("x" * 1100)], RED)
    assert desk.told == []
    assert served(server, taught, desk).answer([], Generation()) == []


# --------------------------------------------------------------------------------------------- faults


def broken(status: int, words: str) -> Callable[[dict[str, Any]], web.Response]:
    return lambda body: web.Response(status=status, text=words)


def cut(body: dict[str, Any]) -> web.Response:
    return web.json_response(reply(body, [3, 4], "abort"))


@pytest.mark.parametrize("fault", [broken(500, "engine dead"), broken(200, "half a {"), broken(503, ""), cut])
def test_what_a_server_took_with_it_is_asked_again_as_often_as_it_falls(server, desk, taught, ask: Ask, fault):
    desk.gone = [True] * 5
    server.faults = [fault] * 5
    student = served(server, taught, desk)
    assert student.answer([ask("say red")], RED) == taught.answer([ask("say red")], RED)
    assert desk.told.count("fell") == 5


def test_a_server_that_lives_and_does_not_answer_is_asked_three_times(server, desk, taught, ask: Ask):
    server.faults = [broken(500, "no \x00 luck, secret")] * 9
    with pytest.raises(StudentError, match=r"tiny: its vLLM server gave no answer in 3 tries: status 500: no . luck"):
        served(server, taught, desk).answer([ask("say red"), ask("say blue")], RED)


def test_a_refusal_is_final_and_shows_no_key(server, desk, taught, ask: Ask):
    server.faults = [broken(400, json.dumps({"error": {"message": "too long,\nsays secret"}}))]
    with pytest.raises(StudentError, match=r"refuses \(400\): .*too long.*\[key\]") as caught:
        served(server, taught, desk).answer([ask("say red")], RED)
    assert "secret" not in str(caught.value)
    assert desk.told.count("fell") == 0


def test_another_model_s_answer_and_another_prompt_s_are_refused():
    body = {"model": "adapter-a", "prompt": [1, 2]}
    assert read_reply(reply(body, [5, 6], "stop"), body) == [5, 6]
    with pytest.raises(StudentError, match="answered as 'student', and was asked as 'adapter-a'"):
        read_reply(reply(body, [5], "stop") | {"model": "student"}, body)
    with pytest.raises(StudentError, match="gives no tokens, or read another prompt"):
        read_reply(reply(body, [5], "stop"), {**body, "prompt": [1, 2, 3]})
    with pytest.raises(StudentError, match="gives no tokens"):
        read_reply({"model": "adapter-a", "choices": [{"finish_reason": "stop", "text": "x"}]}, body)


@pytest.mark.parametrize("told", [None, [], "x", {}, {"choices": []}, {"choices": [{}], "model": "m"}, {"choices": 3}])
def test_what_is_no_reply_is_asked_for_again(told: Any):
    assert read_reply(told, {"model": "m", "prompt": []}) == "a reply without an answer"


def test_the_tiny_base_is_one_wherever_it_is_made():
    assert HFStudent(TinyBase()).digest == tiny().digest
