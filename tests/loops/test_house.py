"""The house: a world that can be solved, seen and read back, by who knows it and by who has to search."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.demo.house import (
    NOTHING,
    House,
    State,
    actions,
    after,
    after_all,
    beginning,
    built,
    facts,
    read_facts,
    seen,
    way,
)
from lessons.demo.house_grader import HouseGrader
from lessons.demo.house_search import knowing, searching, sight
from lessons.errors import GradeError, InputError
from lessons.records import Problem
from lessons.steps import action_in, actions_of, reason_in, said
from loops.environments.base import EpisodicTask, shown
from loops.environments.house import HouseEnvironment
from loops.tasks.house import HouseTask
from loops.tasks.skills_demo import SkillsDemo

HOUSE = House(
    rooms=("hall", "kitchen", "attic", "study"),
    doors=(("hall", "kitchen"), ("hall", "attic"), ("hall", "study")),
    locked=("hall", "study"),
    containers=(("jar", "kitchen"), ("box", "kitchen")),
    key="box",
    start="hall",
    goal="study",
)
WAY = ("go kitchen", "open box", "take key", "go hall", "unlock study", "go study")
houses = st.builds(
    lambda seed, rooms, containers, locked: built(Random(seed), rooms=rooms, containers=containers, locked=locked),
    st.integers(0, 10**6),
    st.integers(2, 9),
    st.integers(1, 6),
    st.booleans(),
)


def problem(house: House = HOUSE, **data: Any) -> Problem:
    return Problem(question=seen(house, beginning(house)), answer="x", data={"house": house.plain(), **data})


def test_what_is_seen_and_what_can_be_done_by_hand() -> None:
    state = beginning(HOUSE)
    assert seen(HOUSE, state) == "Goal: study. You are in the hall. Doors: kitchen, attic, study (locked)."
    assert actions(HOUSE, state) == ("go kitchen", "go attic")
    state = after(HOUSE, state, "go kitchen")
    assert seen(HOUSE, state) == "Goal: study. You are in the kitchen. Doors: hall. Closed: jar, box."
    assert actions(HOUSE, state) == ("go hall", "open jar", "open box")
    state = after(HOUSE, state, "open box")
    assert seen(HOUSE, state) == "Goal: study. You are in the kitchen. Doors: hall. Closed: jar. Open: box (key)."
    state = after(HOUSE, state, "take key")
    assert seen(HOUSE, state).endswith("Closed: jar. Open: box. You carry the key.")
    state = after(HOUSE, state, "go hall")
    assert actions(HOUSE, state) == ("go kitchen", "go attic", "unlock study")
    assert after(HOUSE, state, "go study") == state  # locked still
    assert after_all(HOUSE, WAY).room == "study"
    assert after_all(HOUSE, (*WAY, "go hall")).room == "study"  # it is over


def test_the_shortest_way_by_hand() -> None:
    assert way(HOUSE, beginning(HOUSE)) == WAY
    assert way(HOUSE, State("study")) == ()
    no_key = House(rooms=("a", "b"), doors=(("a", "b"),), locked=("a", "b"), start="a", goal="b")
    assert way(no_key, beginning(no_key)) is None


@given(houses)
def test_every_house_can_be_done_by_knowing_and_by_searching(house: House) -> None:
    best = way(house, beginning(house))
    assert best
    taken: list[str] = []
    while step := knowing(house, taken):
        assert step.action in actions(house, after_all(house, taken))
        taken.append(step.action)
    assert len(taken) == len(best)
    state, sights = beginning(house), []
    for _ in range(200):
        if state.room == house.goal:
            break
        read = sight(seen(house, state))
        assert read is not None
        sights.append(read)
        step = searching(sights)
        assert step is not None
        assert step.action in actions(house, state)
        state = after(house, state, step.action)
    assert state.room == house.goal
    assert len(sights) >= len(best)


@given(houses)
def test_facts_are_read_back_and_go_from_general_to_telling(house: House) -> None:
    lines = facts(house)
    assert read_facts("\n".join(lines)) == house
    assert read_facts("\n".join(lines[:-1])) == house  # the way itself is not needed
    assert read_facts("\n".join(lines[:-2])) is None  # without the key it is no whole house
    assert House.of(json.loads(json.dumps(house.plain()))) == house


@given(st.text(max_size=200))
def test_any_text_is_read_or_not(text: str) -> None:
    sight(text)
    assert read_facts(text) is None
    action_in(text, ("go hall",))
    assert all(action == action.casefold() for action in actions_of(text))


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("The key is here.\nAction: take key", "take key"),
        ("**Action:** Take  Key.", "take key"),
        ("I think so.\ntake key", "take key"),
        ("Action: go hall\nAction: take key", "go hall"),  # one turn, one action: the first
        ("Action: sing", None),
        ("Action: sing\ntake key", None),  # what is named is taken at its word
        ("I might take key or not", None),
        ("", None),
    ],
)
def test_which_action_a_turn_names(text: str, action: str | None) -> None:
    assert action_in(text, ("take key", "go hall")) == action


def test_reasons() -> None:
    assert said("  It is\nclosed. ", "open box") == "It is closed.\nAction: open box"
    assert said("", "open box") == "Action: open box"
    assert reason_in("Reason: it is\nclosed.\nAction: open box") == "it is closed."
    assert reason_in("only talk") == "only talk"


def test_an_episode_tells_that_nothing_happened_and_ends_at_the_goal() -> None:
    environment = HouseEnvironment(steps=8)
    episode = environment.reset(problem())
    was = episode.seen
    assert episode.step("open box").text == f"{NOTHING} {was.text}"
    for action in WAY:
        now = episode.step(action)
    assert (now.done, now.score, now.actions) == (True, 1.0, ())
    assert shown(was) == f"{was.text}\nActions: go kitchen, go attic"
    assert environment.expert(problem()) == WAY


def test_what_is_hidden_is_what_was_not_seen() -> None:
    environment = HouseEnvironment()
    # The study is the goal and seen; the containers stand in a room that was not entered.
    assert environment.hidden(problem(), ()) == (("jar",), ("box",), ("key", "box"))
    assert environment.hidden(problem(), ("go kitchen",)) == (("key", "box"),)
    assert environment.hidden(problem(), ("go kitchen", "open box")) == ()


def test_the_next_step_is_a_problem_that_the_grader_grades() -> None:
    grader, environment = HouseGrader(), HouseEnvironment()
    step = environment.next(problem(), ("go kitchen",))
    assert step.question.endswith("Closed: jar, box.\nActions: go hall, open jar, open box")
    assert (step.answer, step.data["taken"]) == ("open box", ["go kitchen"])
    assert grader.grade(step, said("It is closed.", "open box")).score == 1.0
    assert grader.grade(step, said("It is closed.", "open jar")).note == "not on a shortest way"
    assert grader.grade(step, "I do not know").answer is None
    whole = "\n".join(f"Action: {action}" for action in WAY)
    assert grader.grade(problem(), whole).score == 1.0
    assert grader.grade(problem(), "Action: go kitchen").note == "not at the goal"
    with pytest.raises(GradeError, match="no house"):
        grader.grade(Problem(question="q"), "Action: go hall")
    with pytest.raises(InputError, match="cannot play"):
        environment.reset(Problem(question="q"))


def test_the_task_splits_without_a_shared_first_sight() -> None:
    task = HouseTask(train=10, held_out=6, gate=2, final=2, warm_up=4)
    one, again = task.split(3), task.split(3)
    assert one == again
    assert one != task.split(4)
    every = [p for part in ("train", "held_out", "gate", "final", "warm_up") for p in getattr(one, part)]
    assert len({p.question for p in every}) == len(every) == 2 * (10 + 6 + 2 + 2 + 4)
    assert [p.skills[0] for p in one.train[:4]] == ["find the room", "find the key"] * 2
    assert all(len((p.answer or "").split("; ")) <= task.steps for p in one.train)
    for moment in one.warm_up:
        assert HouseGrader().grade(moment, task.reference(moment)).score == 1.0
    assert isinstance(task, EpisodicTask)
    assert not isinstance(SkillsDemo(), EpisodicTask)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"kinds": ("fly",)}, "task.kinds: there is no kind 'fly'"),
        ({"kinds": ()}, "task.kinds"),
        ({"rooms": 1}, "task.rooms: must be 2 to 12, got 1"),
        ({"containers": 0}, "task.containers"),
        ({"steps": 0}, "task.steps"),
        ({"train": 0}, "train and held_out"),
    ],
)
def test_wrong_knobs(knobs: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        HouseTask(**knobs)


def test_too_few_different_houses_are_refused() -> None:
    with pytest.raises(InputError, match="too few houses"):
        HouseTask(rooms=4, steps=1, kinds=("find the key",)).split(0)
