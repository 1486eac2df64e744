"""What strangers do with the commands: a recipe printed and built elsewhere, a folder imported, one question."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import acedata
from acedata import Directory, build
from acedata._cli import main
from tests.data import tiny


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("journeys")
    build(tiny.write(where, seeds=4), where / "out")
    return where / "out"


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    return code, *capsys.readouterr()


@pytest.mark.parametrize("name", sorted(acedata.shipped_recipes()))
def test_a_printed_recipe_is_a_start_from_anywhere(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = said(capsys, "recipes", name)[1]
    mine = tmp_path / "mine.yaml"
    mine.write_text(printed)
    assert said(capsys, "build", mine, "--dir", tmp_path / "b", "--dry-run")[0] == 0
    shipped = acedata.load_recipe(name)
    # To the letter, but for the demo's files: these are named by where they lie.
    assert name == "demo" or printed == shipped.text
    assert printed.count("\n") == shipped.text.count("\n")


def test_one_question_as_json(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "show", built, "--question", "evol_0", "--json")
    found = json.loads(out)
    assert code == 0 and found["id"] == "evol_0" and len(found["programs"]) == 9
    _, out, _ = said(capsys, "show", built, "--question", "evol_0", "--program", 3, "--json")
    assert [program["completion_id"] for program in json.loads(out)["programs"]] == [3]
    for words in (("--question", "evol_0", "--program", 99), ("--question", "evol_99"), ("--program", 3)):
        code, out, err = said(capsys, "show", built, *words, "--json")
        assert (code, out) == (2, "") and err.startswith("acedata: ")


def test_a_folder_is_imported_and_its_recipe_stays_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    row = {"question": "Add one.", "tests": ["assert f(1) == 2"], "programs": ["def f(x):\n    return x + 1"]}
    (tmp_path / "set" / "data" / "train.jsonl").write_text(json.dumps(row) + "\n")
    words = ("import", tmp_path / "set", "--dir", tmp_path / "out", "--min-tests", 1)
    code, _, err = said(capsys, *words)
    assert code == 0, err
    assert Directory(tmp_path / "out").manifest["pass_rates"].rows == 1
    assert said(capsys, *words)[0] == 0
    recipe = tmp_path / "out" / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "# Mine.\n")
    code, _, err = said(capsys, *words)
    assert code == 2 and "is the recipe itself" in err
    assert recipe.read_text().endswith("# Mine.\n")
    assert said(capsys, "build", recipe, "--dir", tmp_path / "out", "--workers", 1)[0] == 0
    assert recipe.read_text().endswith("# Mine.\n")
    code, _, err = said(capsys, "build", recipe, "--dir", tmp_path / "out", "--limit", 1)
    assert code == 2 and "is the recipe itself" in err


def test_a_source_that_can_only_be_a_file_is_not_looked_for_on_the_hub(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in ("./none", "none.csv", str(tmp_path / "none")):
        recipe = tmp_path / "r.yaml"
        recipe.write_text(f"name: x\nseeds: {{sources: [{{name: s, from: start, path: {path}}}]}}\n")
        code, _, err = said(capsys, "build", recipe, "--dir", tmp_path / "b")
        assert code == 2 and "source 's': there is no file" in err
