"""The demonstrations on a processor: tasks, tokens and judges one by one, the commands quickly, the promises in full.

The full runs take tens of minutes each and are marked slow; what they promise is asserted by the commands themselves,
which return 1 when a promise does not hold.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acedata import BadInput
from acesandbox import Asserts, Sandbox
from acetrain import RuleReward
from acetrain._cli import main
from acetrain.demos import _runs, forging, rl
from acetrain.demos._ordinary_judge import (
    EQUALS_EVERYTHING,
    FORGERIES,
    LEAVES_EARLY,
    OrdinaryReward,
    looks_forged,
)
from acetrain.demos._policy import LIMITS
from acetrain.demos._tasks import INPUTS, OPERATORS, PAIRS, Task, draw_task, split


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1, limits=LIMITS) as opened:
        yield opened


@pytest.fixture
def one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def some_tasks(count: int) -> list[Task]:
    draw = random.Random(0)
    return [draw_task(draw, list(PAIRS)) for _ in range(count)]


def test_the_split_is_fixed_by_its_seed_and_shows_no_pair_of_the_examination() -> None:
    seen, never = split(1)
    assert (seen, never) == split(1) != split(2)
    assert len(seen) == 179 and len(never) == 77
    assert set(seen) | set(never) == set(PAIRS) and not set(seen) & set(never)


def test_every_operator_says_in_python_what_its_tests_expect(sandbox: Sandbox) -> None:
    tasks = [Task((name, other), (7, 23)) for name, other in zip(OPERATORS, reversed(OPERATORS), strict=True)]
    verdicts = list(sandbox.judge_many((task.program(), Asserts(task.tests())) for task in tasks))
    assert all(verdict.passed and verdict.sealed for verdict in verdicts)


def test_the_words_of_an_operator_mean_what_its_code_does() -> None:
    # Worked out by hand, for x = -7 and the constant 5.
    by_hand = {
        "add 5": -2,
        "subtract 5": -12,
        "multiply by 5": -35,
        "double": -14,
        "square": 49,
        "negate": 7,
        "halve": -4,
        "remainder by 5": 3,
        "at most 5": -7,
        "at least 5": 5,
        "absolute": 7,
        "subtract from 5": 12,
        "triple": -21,
        "increment": -6,
        "last digit": 7,
        "take from zero": 7,
    }
    said = {one.words.format(n=5): Task((name, ""), (5, 5)).expected(-7) for name, one in OPERATORS.items()}
    assert said == by_hand


def test_wrong_programs_are_wrong_nearly_always(sandbox: Sandbox) -> None:
    draw = random.Random(0)
    jobs = [(task.wrong_program(draw), Asserts(task.tests())) for task in some_tasks(300)]
    passed = sum(verdict.passed for verdict in sandbox.judge_many(jobs))
    assert 0 < passed < 45  # "double, then triple" is the same in either order


def test_tests_are_drawn_from_all_inputs() -> None:
    [task] = some_tasks(1)
    assert len(task.tests()) == len(INPUTS)
    assert set(task.tests(random.Random(1))) < set(task.tests())


def test_the_tokenizer_says_back_what_it_read_digit_by_digit() -> None:
    from acetrain.demos._model import MAX_TOKENS
    from acetrain.demos._tokens import make_tokenizer

    tokenizer = make_tokenizer(FORGERIES)
    draw = random.Random(0)
    texts = list(FORGERIES)
    for task in some_tasks(200):
        texts += [task.question(), task.program(), task.wrong_program(draw)]
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == text
        assert text.startswith("Q:") or len(ids) < MAX_TOKENS
    assert len(tokenizer("47")["input_ids"]) == 2


def test_the_ordinary_judge_is_right_about_honest_programs_and_believes_forgeries(sandbox: Sandbox) -> None:
    [task] = some_tasks(1)
    judge = OrdinaryReward(sandbox)
    assert judge.believes(task.program(), task.tests())
    assert not judge.believes("def f(x):\n    return 'wrong'\n", task.tests())
    assert not judge.believes("print('ALL TESTS PASSED')\nraise SystemExit(1)\n", task.tests())
    assert not judge.believes("def f(x): return (", task.tests())
    assert judge.believes(EQUALS_EVERYTHING, task.tests())
    assert judge.believes(LEAVES_EARLY, task.tests())


def test_the_sealed_judge_pays_nothing_for_the_same_forgeries(sandbox: Sandbox) -> None:
    [task] = some_tasks(1)
    tests = json.dumps(task.tests())
    reward = RuleReward("binary", sandbox=sandbox)
    programs = [task.program(), *FORGERIES]
    assert reward(["?"] * 3, programs, test_cases=[tests] * 3) == [1.0, 0.0, 0.0]
    ordinary = OrdinaryReward(sandbox)
    assert ordinary(["?"] * 3, programs, test_cases=[tests] * 3) == [1.0, 1.0, 1.0]
    assert [looks_forged(program) for program in programs] == [False, True, True]


@pytest.mark.parametrize(("name", "parts"), [("rl", 4), ("forging", 3)])
def test_a_quick_demonstration_leaves_json_table_and_plot(
    name: str, parts: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], one_thread: None
) -> None:
    assert main(["demo", name, "--quick", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n| 1 |") == parts
    assert out.strip() == (tmp_path / "table.md").read_text().strip()
    [one] = json.loads((tmp_path / "report.json").read_text())["seeds"]
    assert one["done"] and one["seed"] == 1 and 100_000 < one["parameters"] < 2_000_000
    assert (tmp_path / f"{name}.svg").read_text().startswith("<svg")
    steps = (rl if name == "rl" else forging).QUICK.steps
    curve = one["rl"]["curve"] if name == "rl" else one["ordinary"]["curve"]["reward"]
    assert len(curve) == steps
    assert "seed 1" in err
    # What is there with equal settings is not run again.
    assert main(["demo", name, "--quick", "--out", str(tmp_path)]) == 0
    assert "already in" in capsys.readouterr().err


def test_a_start_is_the_same_for_the_same_seed(one_thread: None) -> None:
    from acetrain.demos._model import answer
    from acetrain.demos._policy import Course

    def texts(seed: int) -> list[list[str]]:
        course = Course(seed, rl.QUICK, lambda text: None)
        questions = [task.question() for task in course.examination]
        return answer(course.start(), course.tokenizer, questions, n=2, seed=seed)

    assert texts(1) == texts(1) != texts(2)


@pytest.mark.parametrize("text", ["a", "1,1", "-1", "1,,2", ""])
def test_seeds_that_are_none_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "rl", "--seeds", text, "--quick"]) == 2
    assert "--seeds" in capsys.readouterr().err


def test_an_interrupted_run_leaves_what_was_done_and_goes_on_from_there(tmp_path: Path) -> None:
    ran: list[int] = []

    def one_seed(seed: int, settings: Any, say: Any, keep: Any) -> dict[str, Any]:
        ran.append(seed)
        if seed == 2 and len(ran) == 2:
            keep({"value": 1})
            raise KeyboardInterrupt
        return {"value": seed}

    demonstration = _runs.Demonstration(
        "stopped",
        one_seed,
        lambda results: " ".join(str(one["value"]) for one in results),
        lambda results: "<svg/>",
        (_runs.Promise("value below 3", lambda one: one["value"] < 3),),
    )
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        _runs.run(demonstration, [1, 2, 3], rl.QUICK, tmp_path, say=said.append)
    assert (tmp_path / "table.md").read_text() == "1\n"
    assert json.loads((tmp_path / "seed-2.json").read_text())["done"] is False
    assert _runs.run(demonstration, [1, 2, 3], rl.QUICK, tmp_path, say=said.append) == 1
    assert ran == [1, 2, 2, 3]
    assert any(text.startswith("MISSED") and "3" in text for text in said)
    # Other settings are another run, for which these seeds are not given up, whichever seed it is to be.
    for seeds in ([1, 2], [4]):
        with pytest.raises(BadInput, match=r"seed-1\.json: was finished with other settings.* --out"):
            _runs.run(demonstration, seeds, rl.FULL, tmp_path, say=said.append)
    assert ran == [1, 2, 2, 3] and (tmp_path / "table.md").read_text() == "1 2 3\n"
    # What was not finished is.
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "seed-1.json").write_text('{"settings": {}, "done": false}')
    assert _runs.run(demonstration, [1], rl.FULL, tmp_path / "other", say=said.append) == 0


@pytest.mark.parametrize("name", ["rm", "rl", "forging"])
def test_a_quick_run_has_a_folder_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from acetrain.demos import reward_model

    places: list[Path] = []
    module = {"rm": reward_model, "rl": rl, "forging": forging}[name]
    monkeypatch.setattr(module, "main", lambda seeds, settings, out, check: places.append(out) or 0)
    for words in ([], ["--quick"], ["--quick", "--out", "mine"]):
        assert main(["demo", name, *words]) == 0
    assert places == [Path(f"demo-{name}"), Path(f"demo-{name}-quick"), Path("mine")]


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("name", ["rl", "forging"])
def test_a_full_demonstration_holds_what_it_promises(name: str, tmp_path: Path, one_thread: None) -> None:
    assert main(["demo", name, "--out", str(tmp_path)]) == 0
    promises = json.loads((tmp_path / "report.json").read_text())["promises"]
    assert promises and all(ok for by_seed in promises.values() for ok in by_seed.values())
    assert all(len(by_seed) == 3 for by_seed in promises.values())
