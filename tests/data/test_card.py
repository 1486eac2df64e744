"""The card: true numbers, valid front matter, no text of others that becomes Markdown, the same bytes each time."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml
from huggingface_hub import DatasetCard

from acedata._card import fence, plain, provenance, size_category
from acedata._directory import Directory
from acedata._export import export
from acedata._figures import figures
from acedata._recipe import SourceConfig
from acedata._table1 import table1
from tests.data.builds import HOSTILE, make_build


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    return make_build(tmp_path_factory.mktemp("build") / "b")


@pytest.fixture(scope="module")
def folder(build: Directory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(build, tmp_path_factory.mktemp("out") / "data").path


def counted(build: Directory, stage: str) -> int:
    return sum(batch.num_rows for batch in build.batches(stage))


def test_the_hub_s_own_reader_reads_the_front_matter(folder: Path) -> None:
    for path in (folder / "README.md", folder / "pairs" / "README.md"):
        card = DatasetCard.load(path)
        data = card.data.to_dict()
        assert data["license"] == "other" and data["license_name"] and data["license_link"]
        assert data["configs"][0]["config_name"] == "default"
        assert data["size_categories"] == ["n<1K"]


def test_table_1_is_counted_right(build: Directory) -> None:
    made = table1(figures(build))
    assert made.columns == ("Evol", "OSS", "Stack Python", "Overall")
    rows = [(row.name, row.cells) for row in made.rows]
    before = [row for batch in build.batches("checked") for row in batch.to_pylist()]
    after = [row for batch in build.batches("filtered") for row in batch.to_pylist()]
    pairs = [row["id"] for batch in build.batches("pairs") for row in batch.to_pylist()]
    sources = ("evol", "oss", "stack_python_fns")

    def line(found: list[list[str]]) -> tuple[str, ...]:
        return tuple(f"{len(ids)}" for ids in [*found, [name for ids in found for name in ids]])

    def means(questions: list[dict[str, object]]) -> tuple[str, ...]:
        groups = [[q for q in questions if q["source"] == name] for name in sources]
        groups.append(questions)
        return tuple(f"{sum(len(q['tests']) for q in group) / len(group):.2f}" for group in groups)  # type: ignore[arg-type]

    def of(ids: list[str]) -> list[list[str]]:
        return [[name for name in ids if name.startswith(source)] for source in sources]

    assert rows == [
        ("Before filtering", ()),
        ("# Examples", line(of([row["id"] for row in before]))),
        ("# Avg. test cases", means(before)),
        ("After filtering", ()),
        ("# Examples", line(of([row["id"] for row in after]))),
        ("# Avg. test cases", means(after)),
        ("Preference pairs", ()),
        ("# Pairs", line(of(pairs))),
        ("# Questions with pairs", line(of(sorted(set(pairs))))),
    ]


def test_figures_count_every_result(build: Directory) -> None:
    made = figures(build)
    for stage, models in (("reference_matrix", made.references), ("sample_matrix", made.samples)):
        rows = [row for batch in build.batches(stage) for row in batch.to_pylist()]
        for name, model in models.items():
            mine = [row for row in rows if row["model"] == name]
            statuses = [status for row in mine for status in row["statuses"]]
            sealed = [seal for row in mine for seal in row["sealed"]]
            assert dict(model.statuses) == {status: statuses.count(status) for status in set(statuses)}
            assert model.results == len(statuses) and model.sealed == sum(sealed)
            assert model.sealed_passed == sum(
                seal and status == "passed" for seal, status in zip(sealed, statuses, strict=True)
            )
    rates = [row for batch in build.batches("pass_rates") for row in batch.to_pylist()]
    for name, model in made.samples.items():
        mine = [row["pass_rate"] for row in rates if row["model"] == name]
        assert sum(model.rates) == len(mine) == model.programs
        assert model.rates[0] == mine.count(0.0) and model.rates[-1] == mine.count(1.0)
        # By tenths of the fraction, not of the double.
        for tenth in range(10):
            exact = sum(
                row["model"] == name
                and 0 < row["passed"] < row["tests"]
                and row["passed"] * 10 // row["tests"] == tenth
                for row in rates
            )
            assert model.rates[1 + tenth] == exact
        assert model.mean_rate == pytest.approx(sum(mine) / len(mine))
    margins = [row["margin"] for batch in build.batches("pairs") for row in batch.to_pylist()]
    assert made.margins.total() == len(margins) and all(tenth >= 4 for tenth in made.margins)


def test_the_card_says_what_is_there(build: Directory, folder: Path) -> None:
    text = (folder / "README.md").read_text()
    assert f"{counted(build, 'filtered')} programming questions" in text
    assert f"{counted(build, 'pairs')} preference pairs" in text
    assert table1(figures(build)).markdown() in text
    for stage, record in build.manifest.items():
        line = next(line for line in text.splitlines() if line.startswith(f"| {stage} | "))
        assert f"| {record.rows_in:,} | {record.rows_out:,} |" in line
        for reason, count in record.dropped.items():
            assert f"{plain(reason)}: {count}" in line
        assert record.content[:16] in text
    assert build.recipe.text.rstrip() in text
    assert "ise-uiuc/Magicoder-Evol-Instruct-110K` | Apache-2.0" in text
    assert "Not checked against benchmarks" in text


def test_every_plot_is_there_and_well_formed(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    named = re.findall(r"!\[[^]]*\]\((plots/[^)]+)\)", text)
    there = sorted(f"plots/{path.name}" for path in (folder / "plots").iterdir())
    assert sorted(named) == there and len(there) == 6
    for name in named:
        root = ElementTree.fromstring((folder / name).read_text())
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.get("aria-label")
        assert len(root.findall("{http://www.w3.org/2000/svg}rect")) > 3


def test_a_recipe_cannot_end_its_own_block(tmp_path: Path) -> None:
    build = make_build(tmp_path / "b")
    text = build.recipe.text + "# ````\n# # Not a heading\n# ```\n"
    (build.path / "recipe.yaml").write_text(text)
    card = (export(build, tmp_path / "out").path / "README.md").read_text()
    assert f"`````yaml\n{text}`````\n" in card
    assert fence("no") == "```" and fence("a ``` b") == "````"


def test_names_cannot_become_markdown() -> None:
    made = plain(HOSTILE)
    assert "\n" not in made
    unescaped = re.sub(r"\\.", "", made)
    assert not set("`*_[]<>#|~&(){}") & set(unescaped)


def test_a_stated_licence_is_the_card_s(tmp_path: Path) -> None:
    build = make_build(tmp_path / "b")
    text = build.recipe.text.replace("  validation:", "  license: mit\n  validation:")
    (build.path / "recipe.yaml").write_text(text)
    card = (export(build, tmp_path / "out").path / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == "mit" and "license_name" not in front
    assert "Published under: mit." in card


def test_a_licence_is_only_claimed_of_the_hub_s_dataset() -> None:
    path = "ise-uiuc/Magicoder-OSS-Instruct-75K"
    hub = SourceConfig.model_validate({"name": "oss", "from": "hub", "path": path, "revision": "abc"})
    assert provenance(hub).licence == "MIT" and provenance(hub).path == f"`{path}` at `abc`"
    local = SourceConfig.model_validate({"name": "oss", "from": "files", "path": path})
    assert "not known" in provenance(local).licence
    other = SourceConfig.model_validate({"name": "oss", "from": "hub", "path": "somebody/else"})
    assert "not known" in provenance(other).licence


def test_size_categories_are_the_hub_s_words() -> None:
    assert [size_category(rows) for rows in (0, 999, 1000, 89_422, 307_509, 5_000_000)] == [
        "n<1K",
        "n<1K",
        "1K<n<10K",
        "10K<n<100K",
        "100K<n<1M",
        "1M<n<10M",
    ]
