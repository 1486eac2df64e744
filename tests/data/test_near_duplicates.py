"""Near-duplicates: what is dropped is near what is kept, whatever is kept is near nothing else that is."""

from __future__ import annotations

import random
import time
from itertools import pairwise

import pytest

from acedata._near_duplicates import MAX_TEXT, NearDuplicates, _shingles

WORDS = [f"word{number}" for number in range(400)]


def text(rng: random.Random, words: int = 60) -> list[str]:
    return [rng.choice(WORDS) for _ in range(words)]


def jaccard(one: str, other: str) -> float:
    first, second = set(_shingles(one, 5)), set(_shingles(other, 5))
    return len(first & second) / len(first | second)


def corpus(seed: int) -> list[str]:
    """Texts, some of them with a few words changed: similarities from 0 to 1."""
    rng = random.Random(seed)
    found: list[list[str]] = []
    for _ in range(40):
        words = text(rng)
        found.append(words)
        for changes in (0, 1, 2, 4, 12):
            copy = list(words)
            for _ in range(changes):
                copy[rng.randrange(len(copy))] = "changed"
            found.append(copy)
    rng.shuffle(found)
    return [" ".join(words) for words in found]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_dropped_questions_are_near_a_kept_one_and_kept_ones_near_none(seed: int) -> None:
    questions = corpus(seed)
    near = NearDuplicates(threshold=0.8, permutations=256, seed=seed)
    kept: list[str] = []
    dropped = 0
    for number, question in enumerate(questions):
        found = near.add(str(number), question)
        if found is None:
            # The estimate's standard error is 0.025 here, so three of them to either side.
            assert all(jaccard(question, other) < 0.9 for other in kept), number
            kept.append(question)
        else:
            dropped += 1
            assert int(found.key) < number
            assert jaccard(question, questions[int(found.key)]) > 0.7
            assert questions[int(found.key)] in kept
    assert len(near) == len(kept)
    assert dropped > 60


def test_the_first_of_equal_questions_stays() -> None:
    near = NearDuplicates()
    question = " ".join(text(random.Random(0)))
    assert near.add("a", question) is None
    assert near.add("b", question.upper() + "!") == ("a", 1.0)
    assert near.add("c", f"  {question}") == ("a", 1.0)


def test_the_result_depends_on_questions_order_and_seed_alone() -> None:
    questions = corpus(9)
    runs = []
    for _ in range(2):
        near = NearDuplicates(seed=7)
        runs.append([near.add(str(number), question) for number, question in enumerate(questions)])
    assert runs[0] == runs[1]


@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.8, 0.99, 1.0])
@pytest.mark.parametrize("permutations", [16, 128, 256])
def test_every_setting_that_a_recipe_takes_works(threshold: float, permutations: int) -> None:
    near = NearDuplicates(threshold, permutations=permutations)
    question = " ".join(text(random.Random(0)))
    assert near.add("a", question) is None
    assert near.add("b", question) == ("a", 1.0)


def test_short_and_empty_questions() -> None:
    near = NearDuplicates()
    assert near.add("a", "Sort it") is None
    assert near.add("b", "sort IT!") == ("a", 1.0)
    assert near.add("c", "Sort them") is None
    assert near.add("d", "") is None and near.add("e", "?!") is None
    assert len(near) == 2


def test_a_very_long_question_is_looked_at_only_so_far() -> None:
    near = NearDuplicates()
    assert near.add("a", "word " * MAX_TEXT) is None
    assert near.add("b", "word " * (MAX_TEXT * 2) + "other") is not None


def test_the_time_is_about_linear() -> None:
    rng = random.Random(3)
    near = NearDuplicates()
    marks = [time.process_time()]
    for _ in range(3):
        for number in range(1000):
            near.add(str(number), " ".join(text(rng, 120)))
        marks.append(time.process_time())
    first, *_, last = (after - before for before, after in pairwise(marks))
    # 90,000 questions at this pace are a few minutes.
    assert last < 6 and last < 3 * first + 1
