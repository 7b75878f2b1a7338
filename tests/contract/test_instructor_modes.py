"""instructor gets its models in each of its modes."""

from __future__ import annotations

import pytest

from tests.contract import environment
from tests.contract.environment import Results, said
from tests.live import Server


@pytest.fixture(scope="module")
def results(server: Server) -> Results:
    return environment.run("instructor_modes", server)


BOOK = {"title": "title", "authors": [{"name": "name", "born": 1}]}


def test_every_mode_gives_the_model(results: Results) -> None:
    made = said(results, "every_mode")
    assert len(made) == 10
    assert [how for how, book in made.items() if book != BOOK] == []


def test_a_model_arrives_in_parts(results: Results) -> None:
    assert said(results, "in_parts") == [[BOOK, True]] * 2


def test_several_models_arrive_one_after_the_other(results: Results) -> None:
    assert said(results, "one_after_the_other") == [[{"name": "name", "born": 1}]] * 2


def test_different_models_arrive_in_one_answer(results: Results) -> None:
    assert said(results, "in_parallel") == ["Book", "Author"]


def test_an_answer_that_does_not_fit_is_asked_for_again(results: Results) -> None:
    assert said(results, "second_try") == [True, 2]


def test_an_image_can_be_part_of_the_question(results: Results) -> None:
    assert said(results, "image") == BOOK


def test_an_unknown_model_is_told(results: Results) -> None:
    assert said(results, "error") == ["InstructorRetryException", True]
