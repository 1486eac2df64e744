"""The curve of a run: lines on disk that survive a kill, and a page that can always be drawn."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from acetrain._rl._curve import Curve, page, read, sentence

LOG = {
    "reward": 0.5,
    "reward_std": 0.1,
    "rule_reward/pass_rate": 0.75,
    "rule_reward/all_passed": 0.5,
    "rule_reward/timeout": 0.03,
    "rule_reward/unknown": 0.25,
    "completions/mean_length": 120.5,
    "completions/max_length": 300.0,
    "kl": 0.001,
    "grad_norm": math.nan,
    "epoch": "one",
}


def points(text: str) -> list[tuple[float, float]]:
    return [
        (float(x), float(y))
        for line in re.findall(r'<polyline points="([^"]*)"', text)
        for x, y in (place.split(",") for place in line.split())
    ]


def test_a_line_has_what_the_trainer_logged_and_no_number_that_is_none(tmp_path: Path) -> None:
    curve = Curve(tmp_path, "run", 4, 2)
    line = curve.add(2, LOG)
    assert line["rollout"] == 1 and line["pass_rate"] == 0.75 and line["unknown"] == 0.25
    assert "grad_norm" not in line and "grad_norm" not in line["log"] and "epoch" not in line["log"]
    assert read(tmp_path / "curve.jsonl") == [json.loads(json.dumps(line))]
    said = sentence(line, 4)
    assert said.startswith(
        "rollout 1 of 4: reward 0.500, tests passed 75.0%, all passed 50.0%, timeouts 3.0%"
    )


def test_reinforce_pps_own_share_of_the_unknown_goes_before_the_rewards(tmp_path: Path) -> None:
    assert Curve(tmp_path, "run", 1, 1).add(1, {**LOG, "unknown": 0.5})["unknown"] == 0.5


def test_going_on_drops_later_lines_and_a_torn_one(tmp_path: Path) -> None:
    curve = Curve(tmp_path, "run", 4, 2)
    for update in (2, 4, 6):
        curve.add(update, LOG)
    with open(curve.path, "a", encoding="utf-8") as out:
        out.write('{"rollout": 4, "upd')
    again = Curve(tmp_path, "run", 4, 2, upto=4)
    assert [line["update"] for line in again.lines] == [2, 4]
    again.add(6, LOG)
    assert [line["rollout"] for line in read(again.path)] == [1, 2, 3]


@pytest.mark.parametrize(
    "values",
    [[0.5], [0.0, 0.0], [-3.0, 2.0], [1e-9, 2e-9], [1e6, 1e6 + 1], [-1e4, -1e4], [0.1] * 300],
    ids=["one", "zeros", "signs", "tiny", "far from 0", "negative", "many"],
)
def test_every_point_lies_inside_its_panel(values: list[float]) -> None:
    lines: list[dict[str, Any]] = [
        {"rollout": n, "update": n, "seconds": 1.0, **dict.fromkeys(("reward", "kl", "entropy"), value)}
        for n, value in enumerate(values, 1)
    ]
    drawn = points(page("run", lines, len(values), done=False))
    assert len(drawn) == 4 * len(values)
    assert all(62 <= x <= 496 and 46 <= y <= 206 for x, y in drawn), drawn


def test_the_page_asks_to_be_read_again_only_while_the_run_goes_on() -> None:
    assert 'http-equiv="refresh"' in page("run", [], 3, done=False)
    done = page("run", [], 3, done=True)
    assert "refresh" not in done and "0 of 3 rollouts, finished" in done


def test_a_title_is_text() -> None:
    assert "<script>" not in page("<script>alert(1)</script>", [], 1, done=True)
