"""Recipes: what is right is read, what is wrong is refused with the line, what was expected and the nearest name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acedata._errors import RecipeError
from acedata._recipe import Recipe, find_recipe, load_recipe, parse_recipe, shipped_recipes
from tests.data import settings_page

GOOD = """\
name: x
seeds:
  sources:
    - {name: evol, from: files, path: a.jsonl}
models:
  m: {backend: replay, model: m, provider: p, answers: a}
  q: {backend: replay, model: m, provider: p, answers: a, temperature: 0.7}
questions: {model: m}
references: {models: [m]}
samples: {models: [q]}
pairs: {models: [q], margin: 0.4}
"""


def test_a_right_recipe_is_read_with_its_defaults() -> None:
    recipe = parse_recipe(GOOD)
    assert recipe.pairs is not None and recipe.questions is not None
    assert (recipe.pairs.margin, recipe.pairs.chosen_above, recipe.samples.n) == (0.4, 0.8, 16)
    assert recipe.filter.min_tests == 5 and recipe.definition == "paper"
    assert recipe.text == GOOD


# What is changed in GOOD, and what is said about it.
MISTAKES: list[tuple[str, str, str]] = [
    ("margin: 0.4", "margn: 0.4", "r.yaml:11: pairs.margn is no setting; did you mean margin?"),
    (
        "name: x",
        "name: x\nfilter: {min_test: 5}",
        "r.yaml:2: filter.min_test is no setting; did you mean min_tests?",
    ),
    ("name: x", "nome: x", "r.yaml:1: nome is no setting; did you mean name?"),
    ("margin: 0.4", "margin: 1.4", "r.yaml:11: pairs.margin is 1.4; expected at most 1.0"),
    ("margin: 0.4", "margin: '0.4'", "r.yaml:11: pairs.margin is '0.4'; expected a number"),
    (
        "margin: 0.4",
        "margin: 4e-1",
        "pairs.margin is '4e-1'; expected a number; YAML takes this one for text",
    ),
    ("margin: 0.4", "margin: .nan", "r.yaml:11: pairs.margin is nan; expected at most 1.0"),
    ("margin: 0.4", "margin: yes", "r.yaml:11: pairs.margin is true; expected a number"),
    (
        "backend: replay, model: m, provider: p, answers: a}",
        "backend: replya, model: m, provider: p, answers: a}",
        "r.yaml:6: models.m.backend is 'replya'; expected openai or openai-batch or vllm or replay; "
        "did you mean replay?",
    ),
    ("model: m, provider: p, answers: a}", "provider: p, answers: a}", "r.yaml:6: models.m.model is missing"),
    (
        "questions: {model: m}",
        "questions: {model: qq}",
        "questions.model is 'qq', which is not among `models`",
    ),
    ("references: {models: [m]}", "references: {models: [mm]}", "r.yaml:9: references.models[0] is 'mm'"),
    (
        "samples: {models: [q]}",
        "samples: {models: [m]}",
        "temperature is 0: its 16 programs would all be the same",
    ),
    (
        "pairs: {models: [q]",
        "pairs: {models: [m]",
        "r.yaml:11: pairs.models[0] is 'm', which samples.models does",
    ),
    (
        "questions: {model: m}",
        "questions: {model: m, attempts: 2}",
        "r.yaml:8: questions.attempts is more than 1, but the model's temperature is 0",
    ),
    (
        "samples: {models: [q]}",
        "samples: {models: [q], format: sampl-2}",
        "no prompt format; did you mean sample-2?",
    ),
    ("questions: {model: m}", "questions: {model: m, format: sample-2}", "r.yaml:8: questions.format"),
    (
        "answers: a}",
        "answers: a, api_key: sk-1}",
        "models.m.api_key is no setting; did you mean api_key_env?",
    ),
    ("questions: {model: m}\n", "", "questions is missing: the sources are seeds"),
    (
        "from: files",
        "from: start",
        "questions is given, but the sources (`from: start`) hold questions already",
    ),
    ("name: evol", "name: 'e vol'", "expected a name of letters, digits"),
    ("name: x", "name: x\nname: y", "r.yaml:2: name is given twice; first on line 1"),
    ("name: x", "name: [", "not YAML"),
    ("name: x", "name: x\nseed: !!python/object:os.system 1", "not YAML: could not determine a constructor"),
    (
        "name: x",
        "name: x\njudge: {limits: {cpu: 3}}",
        "r.yaml:2: judge.limits.cpu is no limit; did you mean cpu_s?",
    ),
    ("name: x", "name: x\njudge: {limits: {memory_mb: 1}}", "memory_mb=1 is out of range"),
    ("name: x", "name: x\njudge: {limits: {cpu_s: abc}}", "r.yaml:2: judge.limits.cpu_s is 'abc'"),
    ("name: x", "name: x\nstrength: 3", "r.yaml:2: strength is 3; expected settings"),
    (
        "name: x",
        "name: x\nhard: {models: [q, r]}",
        "r.yaml:2: hard.models[1] is 'r', which samples.models does not name",
    ),
    (
        "references: {models: [m]}",
        "filter: {flaky: true}",
        "filter.flaky needs a reference program to run twice",
    ),
    (
        "path: a.jsonl}",
        "path: a}\n    - {name: evol, from: files, path: b}",
        "sources[1].name is 'evol', as another",
    ),
    ("path: a.jsonl}", "path: a, limit: 0}", "r.yaml:4: seeds.sources[0].limit is 0; expected at least 1"),
    ("answers: a}", "answers: a, price: {input: 1}}", "r.yaml:6: models.m.price.output is missing"),
    ("name: x", "name: x\nengine: spark", "r.yaml:2: engine is 'spark'; expected local or ray"),
    ("name: x", "name: x\nmodels: 3\n---", "not YAML"),
    ("name: x", "name: x\n5: y", "r.yaml:2: 5 is no setting; there are name"),
    ("name: x", "name: 2024-99-01", "r.yaml:1: '2024-99-01' cannot be: month"),
    ("name: x", "name: x\nseed: " + "9" * 5000, "r.yaml:2: '9999"),
    ("name: x", "name: x\nseed: 0x" + "f" * 5000, "r.yaml:2: seed is a huge number; expected less than"),
    ("name: x", "name: x\nseed: '7'", "seed is '7'; expected a whole number; YAML takes this one for text"),
    ("name: x", "name: x\nshard_rows: 9999999999", "r.yaml:2: shard_rows is 9999999999; expected less than"),
    ("name: x", "name: x\x00", "r.yaml:1: not YAML: the character '\\x00' may not stand there"),
    ("name: x", "name: &a [*a]", "r.yaml:1: nested too deep"),
    ("name: x", "name: x\njudge: {limits: {cpu_s: abc}}", "expected a number"),
    ("answers: a}", "answers: a, timeout_s: .inf}", "models.m.timeout_s is inf; expected at most 86400"),
    (
        "answers: a}",
        "answers: a, max_tokens: 99999999999}",
        "models.m.max_tokens is 99999999999; expected less",
    ),
    (
        "path: a.jsonl}",
        "path: ''}",
        "r.yaml:4: seeds.sources[0].path is ''; expected a text that is not empty",
    ),
    (
        "backend: replay, model: m, provider: p, answers: a}",
        "backend: openai, model: m, provider: p, base_url: 'https://me:s3cret@host/v1'}",
        "r.yaml:6: models.m.base_url holds a password",
    ),
    (
        "backend: replay, model: m, provider: p, answers: a}",
        "backend: openai, model: m, provider: p, base_url: 'https://host/v1?api-key=s3cret'}",
        "r.yaml:6: models.m.base_url holds a password",
    ),
]


@pytest.mark.parametrize(("right", "wrong", "said"), MISTAKES, ids=[said for _, _, said in MISTAKES])
def test_a_mistake_is_refused_with_line_and_remedy(right: str, wrong: str, said: str) -> None:
    assert GOOD.count(right) >= 1
    with pytest.raises(RecipeError) as refused:
        parse_recipe(GOOD.replace(right, wrong, 1), Path("r.yaml"))
    assert said in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_several_mistakes_are_said_at_once() -> None:
    with pytest.raises(RecipeError) as refused:
        parse_recipe(GOOD + "filter: {min_test: 5}\nengine: spark\n", Path("r.yaml"))
    assert [line.partition(" ")[0] for line in str(refused.value).splitlines()] == [
        "r.yaml:12:",
        "r.yaml:13:",
    ]


def test_settings_may_be_shared_with_anchors() -> None:
    text = GOOD.replace("  m: {", "  m: &m {").replace(
        "  q: {backend: replay, model: m, provider: p, answers: a,", "  q: {<<: *m,"
    )
    assert parse_recipe(text).model_dump() == parse_recipe(GOOD).model_dump()
    with pytest.raises(RecipeError, match=r"r\.yaml:7: models\.q\.temperature is 7"):
        parse_recipe(text.replace("temperature: 0.7", "temperature: 7"), Path("r.yaml"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "a",
        "\x00",
        "? [a]\n: b",
        "&a [*a]",
        "name: &a {b: *a}",
        "{" * 500,
        "name: 1999-99-99",
        "a: b: c",
    ],
)
def test_what_is_no_recipe_at_all_is_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        parse_recipe(text)
    with pytest.raises(RecipeError, match="there is no recipe"):
        load_recipe("x" * 5000)


def test_a_budget_needs_prices_of_what_is_paid() -> None:
    text = GOOD.replace(
        "backend: replay, model: m, provider: p, answers: a}", "backend: openai, model: m, provider: p}"
    )
    parse_recipe(text)
    with pytest.raises(RecipeError, match=r"models\.m\.price is missing: budget_usd"):
        parse_recipe(text + "budget_usd: 10\n")


def test_changed_settings_are_in_the_text_too() -> None:
    recipe = parse_recipe(GOOD, Path("/somewhere/r.yaml")).changed(workers=2, seeds__limit=5)
    assert recipe.workers == 2 and recipe.seeds.limit == 5
    assert parse_recipe(recipe.text).model_dump() == recipe.model_dump()
    assert recipe.resolve("a.jsonl") == Path("/somewhere/a.jsonl")
    with pytest.raises(RecipeError, match=r"^engine is 'spark'"):  # of no line: it stands in no file
        recipe.changed(engine="spark")


def test_how_a_recipe_is_run_leaves_its_text_alone() -> None:
    recipe = parse_recipe("# Mine.\n" + GOOD, Path("r.yaml"))
    assert recipe.changed(workers=2, budget_usd=3.0, store="/s", engine="local").text == recipe.text
    assert "workers: 2" in recipe.changed(workers=2, seeds__limit=5).text


def test_a_recipe_is_found_by_path_or_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD)
    assert load_recipe(tmp_path / "mine.yaml").name == "x"
    assert find_recipe("demo") == shipped_recipes()["demo"]
    with pytest.raises(RecipeError, match="did you mean acecode-hard"):
        find_recipe("acecode-hrad")
    with pytest.raises(RecipeError, match="there is no recipe"):
        find_recipe(tmp_path / "demo")


def test_the_page_has_every_setting_as_it_is() -> None:
    page = settings_page.PAGE.read_text(encoding="utf-8")
    assert settings_page.groups() == settings_page.all_settings()
    assert settings_page.rewritten(page) == page, "python -m tests.data.settings_page --write"


# The shipped recipes.


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_a_shipped_recipe_loads_under_its_own_name(name: str) -> None:
    assert load_recipe(name).name == name


def test_the_shipped_recipes_are_those_of_the_documentation() -> None:
    assert sorted(shipped_recipes()) == [
        "acecode-89k-paper",
        "acecode-89k-upstream",
        "acecode-hard",
        "acecodepair-300k",
        "demo",
    ]


def test_the_paper_recipe_has_the_papers_numbers() -> None:
    recipe = load_recipe("acecode-89k-paper")
    assert recipe.definition == "paper"
    assert [source.name for source in recipe.seeds.sources] == ["evol", "oss", "stack_python_fns"]
    assert [(source.limit, source.min_chars) for source in recipe.seeds.sources] == [
        (None, 0),
        (None, 0),
        (50000, 101),
    ]
    assert _facts(recipe, "gpt-4o-mini") == ("gpt-4o-mini", 0.7, 1.0, 8192, True)
    assert _facts(recipe, "qwen_coder_2.5_32b_greedy") == (
        "Qwen/Qwen2.5-Coder-32B-Instruct",
        0.0,
        1.0,
        1024,
        False,
    )
    assert _facts(recipe, "qwen_coder_2.5") == ("Qwen/Qwen2.5-Coder-7B-Instruct", 0.7, 1.0, 1024, False)
    assert recipe.references.models == ["qwen_coder_2.5_32b_greedy"]
    assert (recipe.samples.models, recipe.samples.n, recipe.samples.format) == (
        ["qwen_coder_2.5"],
        16,
        "sample-2",
    )
    assert recipe.filter.min_tests == 5
    assert recipe.pairs is not None
    assert (recipe.pairs.margin, recipe.pairs.chosen_above, recipe.pairs.rejected_above) == (0.4, 0.8, 0.0)


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_what_goes_beyond_the_paper_is_off_in_its_recipes(name: str) -> None:
    if name == "demo":
        return
    recipe = load_recipe(name)
    assert recipe.checks.model_dump() == {"signature": False, "decontaminate": None, "near_duplicates": None}
    assert recipe.strength is None and not recipe.filter.flaky and recipe.filter.agreement == 1.0
    assert recipe.pairs is None or recipe.pairs.cap is None
    assert not recipe.seeds.drop_duplicates


def test_the_upstream_recipe_differs_from_the_papers_in_rules_only() -> None:
    paper, upstream = (load_recipe(f"acecode-89k-{name}").model_dump() for name in ("paper", "upstream"))
    assert _differences(paper, upstream) == {
        "name",
        "definition",
        "references.format",
        "references.cut",
        "samples.format",
        "samples.cut",
    }


def _facts(recipe: Recipe, name: str) -> tuple[Any, ...]:
    model = recipe.models[name]
    return model.model, model.temperature, model.top_p, model.max_tokens, model.json_answer


def _differences(first: Any, second: Any, name: str = "") -> set[str]:
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        return {
            found
            for key in first
            for found in _differences(first[key], second[key], f"{name}.{key}" if name else key)
        }
    return set() if first == second else {name}
