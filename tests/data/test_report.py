"""The report, opened in a real browser: no complaint, plots drawn, matrices opened by link, mouse and keyboard, and
other people's text shown as text."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acedata import _report
from acedata._directory import Building, Directory
from acedata._funnel import FunnelBroken
from acedata._plots import Bar, columns, horizontal
from acedata._report import render_report, report
from tests.data.browser import Browser, Page
from tests.data.builds import HOSTILE, make_build

READY = "document.documentElement.dataset.ready === 'yes'"
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    return make_build(tmp_path_factory.mktemp("build") / "b")


@pytest.fixture(scope="module")
def page(build: Directory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(build, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.fixture
def see(chromium: Browser) -> Iterator[Open]:
    """`see(url)`: opens a report in the browser and waits until its script has run."""
    opened = []

    def show(url: str, **size: int) -> Page:
        opened.append(chromium.open(url, **size))
        opened[-1].wait(READY)
        return opened[-1]

    yield show
    for one in opened:
        one.close()


def test_it_opens_without_a_complaint_and_without_the_network(see: Open, page: Path) -> None:
    browser = see(page.as_uri())
    assert browser.troubles == []
    assert browser.evaluate("document.documentElement.dataset.errors === undefined")


def test_plots_are_drawn(see: Open, page: Path) -> None:
    browser = see(page.as_uri())
    drawn = browser.evaluate(
        "[...document.querySelectorAll('svg')].map((plot) => [plot.getAttribute('aria-label'),"
        "[...plot.querySelectorAll('rect')].filter((bar) => { const box = bar.getBoundingClientRect();"
        "return box.width > 0.5 && box.height > 0.5; }).length])"
    )
    assert [name for name, _ in drawn] == [
        "What is left after each stage",
        "Tests per question, before and after the filter",
        "Pass rates of small",
        "Pass rates of other",
        "Pairs by margin",
        "Results that are not passes, by status",
    ]
    assert all(bars >= 5 for _, bars in drawn), drawn


def test_it_is_readable_at_1280_pixels(see: Open, page: Path) -> None:
    browser = see(page.as_uri(), width=1280)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 1280
    colours = browser.evaluate("getComputedStyle(document.body).color")
    assert sum(map(int, re.findall(r"\d+", colours))) < 200  # dark text
    ground = browser.evaluate("getComputedStyle(document.querySelector('section')).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    smallest = browser.evaluate(
        "Math.min(...[...document.querySelectorAll('p, td, th, li, button, code')]"
        ".filter((node) => node.textContent.trim()).map((node) => parseFloat(getComputedStyle(node).fontSize)))"
    )
    assert smallest >= 12


def test_a_link_opens_a_question_with_its_matrix(see: Open, build: Directory, page: Path) -> None:
    kept = [row for batch in build.batches("filtered") for row in batch.to_pylist()]
    row = kept[7]
    browser = see(f"{page.as_uri()}#question={row['id']}")
    assert browser.evaluate("document.querySelector('#detail h3').textContent") == row["id"]
    programs = browser.evaluate("document.querySelectorAll('.matrix tr[data-row]').length")
    assert programs == 1 + 8
    samples = [
        result
        for batch in build.batches("sample_matrix")
        for result in batch.to_pylist()
        if result["id"] == row["id"]
    ]
    shown = browser.evaluate(
        "[...document.querySelectorAll('.matrix tr[data-row]')].slice(1).map((row) =>"
        "[...row.querySelectorAll('.cell:not(.none)')].map((cell) => cell.getAttribute('aria-label')))"
    )
    expected = [
        [
            status + ("" if sealed or status == "not_run" else ", not sealed")
            for status, sealed in zip(result["statuses"], result["sealed"], strict=True)
        ]
        for result in samples
    ]
    assert shown == expected
    assert (
        browser.evaluate("document.querySelectorAll('.matrix tr[data-row=\"1\"] .cell').length")
        == row["tests_before"]
    )
    assert browser.troubles == []


def test_a_cell_tells_by_letter_and_colour_what_happened(see: Open, page: Path) -> None:
    browser = see(f"{page.as_uri()}#question=evol_3")
    looks = browser.evaluate(
        "[...document.querySelectorAll('.matrix .cell:not(.none)')].map((cell) => [cell.getAttribute('aria-label')"
        ".split(',')[0], cell.textContent, cell.style.background])"
    )
    letters = {status: letter for status, letter, _ in looks}
    assert len(set(letters.values())) == len(letters) > 3
    assert len({colour for *_, colour in looks}) == len(letters)


def test_pointing_at_a_cell_and_clicking_it(see: Open, page: Path) -> None:
    browser = see(f"{page.as_uri()}#question=evol_3")
    failed = browser.evaluate(
        "(() => { const cell = [...document.querySelectorAll('.matrix tr[data-row] .cell')].find((cell) =>"
        "/^(failed|error|exited)/.test(cell.getAttribute('aria-label')) && cell.closest('tr').dataset.row > 0);"
        "cell.id = 'wanted'; return [cell.closest('tr').dataset.row, cell.dataset.place]; })()"
    )
    browser.click("#wanted")
    about = browser.evaluate("document.getElementById('about').textContent")
    assert about.startswith(f"Test {int(failed[1]) + 1}")
    # The message is the hostile text, to the letter but for what a browser cannot show.
    assert HOSTILE.split("\x00")[0].rstrip() in about
    program = browser.evaluate("document.querySelector('#source code').textContent")
    assert program.startswith("def add_3(a, b):") and HOSTILE.split("\x00")[0] in program
    assert browser.troubles == []


def test_everything_can_be_done_by_keyboard(see: Open, page: Path) -> None:
    browser = see(f"{page.as_uri()}#question=evol_3")
    browser.key("/")
    assert browser.evaluate("document.activeElement.id") == "search"
    for letter in "evol_1":
        browser.key(letter)
    assert "of" in browser.evaluate("document.getElementById('found').textContent")
    browser.evaluate("document.querySelector('#list button').focus()")
    browser.key("ArrowDown")
    chosen = browser.evaluate("document.activeElement.dataset.id")
    assert chosen.startswith("evol_1")
    browser.key("Enter")
    browser.wait(f"document.querySelector('#detail h3').textContent === {json.dumps(chosen)}")
    browser.evaluate("document.querySelector('.matrix .cell[tabindex=\"0\"]').focus()")
    browser.key("ArrowDown")
    browser.key("ArrowRight")
    assert browser.evaluate("document.activeElement.dataset.place") == "1"
    assert browser.evaluate("document.activeElement.closest('tr').dataset.row") == "1"
    assert browser.evaluate("document.getElementById('about').textContent").startswith("Test 2")
    browser.key("ArrowDown")
    browser.key("Enter")
    assert "#1" in browser.evaluate("document.querySelector('#source h3').textContent")
    assert browser.troubles == []


def test_search_and_filters(see: Open, build: Directory, page: Path) -> None:
    hard = sum(batch.num_rows for batch in build.batches("hard"))
    browser = see(page.as_uri())
    count = "document.querySelectorAll('#list button').length"
    everyone = browser.evaluate(count)
    assert everyone == sum(batch.num_rows for batch in build.batches("checked"))
    pick = (
        "(() => {{ const box = document.getElementById('{}'); box.value = {};"
        "box.dispatchEvent(new Event('input')); }})()"
    )
    browser.evaluate(pick.format("which", "'hard'"))
    assert browser.evaluate(count) == hard
    browser.evaluate(pick.format("which", "'lost'"))
    assert browser.evaluate(count) == build.record("filtered").dropped["fewer than 5 tests"]
    browser.evaluate(pick.format("which", "'all'"))
    browser.evaluate(pick.format("where", "'oss'"))
    assert 0 < browser.evaluate(count) < everyone
    browser.evaluate(pick.format("search", "'adds 33 to'"))
    assert browser.evaluate("document.querySelector('#list button').dataset.id") == "oss_33"
    assert browser.evaluate(count) == 1


def test_hostile_text_never_becomes_markup(see: Open, page: Path) -> None:
    browser = see(f"{page.as_uri()}#question=evol_3")
    assert browser.evaluate("document.documentElement.dataset.pwned === undefined")
    assert browser.evaluate("document.querySelectorAll('img, b b, section script').length") == 0
    assert browser.evaluate("document.scripts.length") == 2
    shown = browser.evaluate("document.querySelector('.prose').textContent")
    assert HOSTILE.partition("\x00")[0] in shown and HOSTILE.partition("\x00")[2].partition("\r")[0] in shown
    assert "49" not in shown  # {{ 7 * 7 }} stays what it is
    assert browser.troubles == []


def test_names_and_settings_never_become_markup(see: Open, build: Directory, tmp_path: Path) -> None:
    # Names of models come from imported data; the recipe and the host's name from wherever.
    name = f"x'\"{HOSTILE}"
    path = shutil.copytree(build.path, tmp_path / "b")
    for stage in ("samples", "sample_matrix", "pass_rates"):
        for file in Directory(path).files(stage):
            table = pq.read_table(file)
            models = [name if model == "other" else model for model in table["model"].to_pylist()]
            place = table.schema.get_field_index("model")
            pq.write_table(table.set_column(place, table.schema.field(place), pa.array(models)), file)
    recipe = (path / "recipe.yaml").read_text()
    (path / "recipe.yaml").write_text(recipe + "# </code></pre><img src=x>\n")
    manifest = json.loads((path / "manifest.json").read_text())
    for stage, record in manifest["stages"].items():
        for note in record["shards"].values():
            for file in note["files"]:
                note["files"][file] = hashlib.sha256((path / "data" / stage / file).read_bytes()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))
    with Building(path) as building:
        building.note_run("seeds", {"host": HOSTILE})
        building.note_run("seeds", {"host": [], "models": 3, "seconds": "long", "dollars": float("inf")})
    browser = see(report(path, tmp_path / "report.html").as_uri())
    assert browser.evaluate("document.querySelectorAll('img, section script, section b b').length") == 0
    assert "<b>bold</b>" in browser.evaluate("document.querySelector('#results').textContent")
    assert "<b>bold</b>" in browser.evaluate("document.querySelector('#rates').textContent")
    assert "</code></pre><img src=x>" in browser.evaluate("document.querySelector('#recipe').textContent")
    assert browser.troubles == []


def test_script_that_got_into_the_page_would_not_run(see: Open, page: Path, tmp_path: Path) -> None:
    # And the tests above would notice: what the browser refuses, it says.
    broken = tmp_path / "broken.html"
    evil = "<script>document.documentElement.dataset.pwned = 1</script><img src='https://192.0.2.1/x.png' onerror='1'>"
    broken.write_text(page.read_text().replace("</main>", evil + "</main>"))
    browser = see(broken.as_uri())
    assert browser.evaluate("document.documentElement.dataset.pwned === undefined")
    assert sum("Content Security Policy" in one for one in browser.troubles) >= 2


def test_names_of_imported_models_and_reasons_are_escaped() -> None:
    # Models' names come from imported data.
    name = "<script>alert(1)</script>\x00\"'&"
    for picture in (
        horizontal(name, [Bar(name, [(1, "#000000", name)], name)], legend=[(name, "#000000")]),
        columns(name, [Bar(name, [(1, "#000000", name)])], across=name, up=name),
    ):
        assert "<script" not in picture and "\x00" not in picture and "&lt;script&gt;" in picture


def test_a_big_build_is_sampled_and_the_page_says_so(build: Directory) -> None:
    text = render_report(build, questions=7)
    assert re.search(r"7 of 50 questions, drawn by the recipe's seed", text)
    ids = [question["id"] for question in _data(text)["questions"]]
    assert len(ids) == 7
    assert ids == [question["id"] for question in _data(render_report(build, questions=7))["questions"]]
    assert set(ids) < {question["id"] for question in _data(render_report(build))["questions"]}


def _data(page: str) -> dict[str, list[dict[str, str]]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, list[dict[str, str]]] = json.loads(found[1])
    return data


def test_the_page_is_bounded(build: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_report, "MAX_BYTES", 20_000)
    text = render_report(build)
    shown = len(_data(text)["questions"])
    assert 0 < shown < 50 and f"{shown} of 50 questions" in text
    monkeypatch.setattr(_report, "MAX_TEXT", 30)
    text = render_report(build)
    assert "characters more]" in text and "long texts are cut" in text


def test_the_numbers_are_the_build_s(build: Directory, page: Path) -> None:
    text = re.sub(r"<[^>]+>", " ", page.read_text().partition("<main>")[2].partition('id="questions"')[0])
    text = re.sub(r"\s+", " ", text)
    assert "no function or class: 5" in text and "fails on the reference program:" in text
    pairs = sum(batch.num_rows for batch in build.batches("pairs"))
    # Under the build's own definition the views give what the build holds.
    assert re.search(rf"paper: more than, kept tests \d+ {pairs} {build.record('hard').rows} ", text)
    assert "all 11 13.75 s" in text


def test_a_build_that_has_only_begun(see: Open, build: Directory, tmp_path: Path) -> None:
    path = shutil.copytree(build.path, tmp_path / "b")
    with Building(path) as building:
        building.forget(
            [stage for stage in building.manifest if stage not in ("seeds", "questions", "checked")]
        )
    page = report(path, tmp_path / "report.html")
    browser = see(f"{page.as_uri()}#question=evol_3")
    assert browser.troubles == []
    assert "No program was run" in browser.evaluate("document.getElementById('detail').textContent")
    with Building(path) as building:
        building.forget(list(building.manifest))
    assert "There is none." in render_report(Directory(path))


def test_no_report_of_a_broken_funnel(build: Directory, tmp_path: Path) -> None:
    path = shutil.copytree(build.path, tmp_path / "b")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["stages"]["samples"]["rows_out"] -= 1
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FunnelBroken, match="samples"):
        report(path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
