"""Questions for a run: an export, a file or a data set on the hub becomes rows with `prompt` and `test_cases`.

Whatever else a row has stays out of the run, but for its `id` and the number of tests that its prompt shows. Every row
is looked at before anything is trained: one that cannot be asked or paid for would end a run in its tenth hour, or be
drawn for nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from acedata import BadInput
from acedata._rows import Place, is_local, iter_rows
from acesandbox import BadInput as BadTests
from acetrain._scoring import read_tests

from ._recipe import DataConfig, RLRecipe

KEPT = ("prompt", "test_cases", "id", "shown_tests")

# What an R1-style run asks for; `has_r1_form` in `_rewards` is the form that it pays for.
R1_SYSTEM = (
    "You solve programming tasks. First think: write your reasoning between <think> and </think>. "
    "Then answer with one Python code block, opened by ```python and closed by ```, that holds the whole program. "
    "Nothing follows the block."
)
R1_TEXT = "{system}\n\nTask:\n{question}\n\nAnswer:\n"


@dataclass(frozen=True, slots=True)
class Questions:
    """What a run draws from.

    Attributes:
        rows: a `datasets.Dataset` with the columns of `KEPT` that there were.
        found: rows before any was left out.
        too_long: rows left out because their prompt has too many tokens.
    """

    rows: Any
    found: int
    too_long: int


def load_questions(recipe: RLRecipe, place: str, tokenizer: Any) -> Questions:
    """Reads the recipe's questions, and looks at every row.

    Args:
        place: the data set: a file, a folder or a name on the hub.
        tokenizer: of the policy; it counts the prompts' tokens.

    Raises:
        BadInput: there are none, or a row is not what it should be; with the file and the row.
    """
    from datasets import Dataset

    config = recipe.data
    kept, places = _read(recipe, place, bool(tokenizer.chat_template))
    found = len(kept)
    if not found:
        raise BadInput(f"{place}: no questions")
    if config.prompt == "r1":
        kept = [{**row, "prompt": r1_prompt(row["prompt"])} for row in kept]
    columns = [name for name in KEPT if any(name in row for row in kept)]
    try:
        rows = Dataset.from_list([{name: row.get(name) for name in columns} for row in kept])
    except (
        ValueError,
        TypeError,
        OverflowError,
    ) as error:  # messages with other things that no column can hold
        raise BadInput(f"{place}: the rows make no table: {' '.join(str(error).split())}") from error
    fitting = []
    for number, size in enumerate(_sizes(kept, places, tokenizer)):
        if not size:
            raise BadInput(f"{places[number]}: the policy's tokenizer makes no token of this prompt")
        if size <= recipe.rollout.prompt_tokens:
            fitting.append(number)
    if not fitting:
        raise BadInput(f"{place}: every prompt is longer than {recipe.rollout.prompt_tokens} tokens")
    return Questions(rows.select(fitting), found, found - len(fitting))


def _read(recipe: RLRecipe, place: str, chats: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """The columns of `KEPT` of every row, and where each row stands.

    Args:
        chats: whether the policy's tokenizer has a chat template.
    """
    config = recipe.data
    kept: list[dict[str, Any]] = []
    places: list[str] = []
    unusable: list[str] = []
    for where, values in islice(_open(config, place), config.limit):
        row = {name: values[name] for name in KEPT if name in values}
        for name in ("prompt", "test_cases", *(("shown_tests",) if config.skip_shown else ())):
            if name not in row:
                needed = ", which `skip_shown: true` needs" if name == "shown_tests" else ""
                raise BadInput(
                    f"{where}: no column {name!r}{needed}; there are {', '.join(map(str, values))}"
                )
        trouble = _prompt_trouble(row["prompt"], chats) or _column_trouble(row, kept[0] if kept else row)
        if trouble is not None:
            raise BadInput(f"{where}: {trouble}")
        if recipe.reward.kind == "rule":
            trouble = _tests_trouble(row, config.skip_shown)
            if trouble is not None:
                unusable.append(f"{where}: {trouble}")
        kept.append(row)
        places.append(where)
    if unusable:
        raise BadInput(
            f"{unusable[0]}; {len(unusable):,} of {len(kept):,} questions have no tests that a program could be paid "
            "by: take them out"
        )
    return kept, places


def _prompt_trouble(prompt: Any, chats: bool) -> str | None:
    """What is wrong with a prompt; None: nothing."""
    if isinstance(prompt, str):
        texts = [prompt]
    elif isinstance(prompt, list):
        for number, message in enumerate(prompt):
            for name in ("role", "content"):
                value = message.get(name) if isinstance(message, dict) else None
                if not isinstance(value, str):
                    return f"column 'prompt': message {number} has no text as its `{name}`"
        if prompt and not chats:
            return "the prompt is messages, and the policy's tokenizer has no chat template"
        texts = [message["content"] for message in prompt]
    else:
        return f"column 'prompt' must be a text or messages, not {type(prompt).__name__}"
    if not any(text.strip() for text in texts):
        return "column 'prompt' is empty"
    return _text_trouble("prompt", texts)


def _column_trouble(row: dict[str, Any], first: dict[str, Any]) -> str | None:
    """What is wrong with the other columns, and with all of them beside the first row's; None: nothing."""
    tests = row["test_cases"]
    if not isinstance(tests, (str, list)):
        return f"column 'test_cases' must be a JSON list as text, not {type(tests).__name__}"
    if isinstance(tests, list) and not all(isinstance(test, str) for test in tests):
        return "column 'test_cases' must be a list of texts"
    shown = row.get("shown_tests")
    if isinstance(shown, bool) or not isinstance(shown, (int, type(None))):
        return f"column 'shown_tests' must be a whole number, not {type(shown).__name__}"
    if not isinstance(row.get("id"), (str, int, type(None))):
        return f"column 'id' must be a text or a number, not {type(row['id']).__name__}"
    for name in ("prompt", "test_cases", "id"):
        one, other = row.get(name), first.get(name)
        if None not in (one, other) and type(one) is not type(other):
            kinds = (_KINDS.get(type(other), "a number"), _KINDS.get(type(one), "a number"))
            return (
                f"column {name!r}: the first row has {kinds[0]}, this one {kinds[1]}; all must have the same"
            )
    return _text_trouble("test_cases", [tests] if isinstance(tests, str) else tests)


_KINDS: dict[type, str] = {str: "a text", list: "a list"}


def _text_trouble(name: str, texts: list[str]) -> str | None:
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError:
        return f"column {name!r} holds half a character (a lone surrogate)"
    return None


def _tests_trouble(row: dict[str, Any], skip_shown: bool) -> str | None:
    """Why a completion could not be paid by these tests; None: it can."""
    try:
        tests = read_tests(row["test_cases"])
    except BadTests as error:
        return str(error)
    shown = (row["shown_tests"] or 0) if skip_shown else 0
    if not 0 <= shown < len(tests):
        return f"{shown} of the {len(tests)} tests are shown in the prompt, and `skip_shown` leaves none"
    return None


def r1_prompt(prompt: Any) -> Any:
    """A prompt that asks for thought and then one block of Python. A system message of its own is replaced."""
    if isinstance(prompt, str):
        return R1_TEXT.format(system=R1_SYSTEM, question=prompt.strip())
    said = [message for message in prompt if message["role"] != "system"]
    return [{"role": "system", "content": R1_SYSTEM}, *said]


def _open(config: DataConfig, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows, each with its place.

    Raises:
        BadInput: there is nothing, or it cannot be read; while rows are drawn.
    """
    path = Path(os.path.expanduser(place))
    if path.is_file() and config.split != "train":
        raise BadInput(f"{place}: data.split is {config.split}; expected train: a file has no other split")
    if path.exists() and config.revision is not None:
        raise BadInput(f"{place}: data.revision means nothing for what is on this machine; leave it out")
    if path.exists():
        files = (path,) if path.is_file() else _files_of(config, place)
        for row in iter_rows(Place(place, files=files)):
            yield row.where, row.values
        return
    if is_local(place) or place.count("/") > 1:
        raise BadInput(f"{place}: no such file or folder")
    for number, values in enumerate(_on_the_hub(config, place)):
        yield f"{place} ({config.split}) row {number}", dict(values)


def _files_of(config: DataConfig, place: str) -> tuple[Path, ...]:
    """The files of a folder that its configuration and split name: as `datasets` finds them, and read by ourselves.

    `datasets` itself would answer from its cache, whatever folder of that name had that configuration first.
    """
    from datasets import load_dataset_builder

    try:
        files = load_dataset_builder(place, config.config).config.data_files or {}
    except (ValueError, OSError) as error:
        raise BadInput(f"{place}: cannot be read: {' '.join(str(error).split())}") from error
    found = {str(split): names for split, names in files.items()}
    if config.split not in found:
        raise BadInput(f"{place}: no split {config.split!r}; there are {', '.join(found)}")
    return tuple(Path(name) for name in found[config.split])


def _on_the_hub(config: DataConfig, place: str) -> Any:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        return load_dataset(place, config.config, split=config.split, revision=config.revision)
    except (ValueError, OSError, DatasetsError) as error:
        raise BadInput(f"{place}: cannot be read: {' '.join(str(error).split())}") from error


def _sizes(rows: list[dict[str, Any]], places: list[str], tokenizer: Any, batch: int = 512) -> Iterator[int]:
    """Tokens of each prompt."""
    for start in range(0, len(rows), batch):
        prompts = [row["prompt"] for row in rows[start : start + batch]]
        if isinstance(prompts[0], str):
            yield from (len(ids) for ids in tokenizer(prompts)["input_ids"])
        else:
            yield from _chat_sizes(prompts, places[start : start + batch], tokenizer)


def _chat_sizes(prompts: list[Any], places: list[str], tokenizer: Any) -> list[int]:
    from jinja2 import TemplateError

    try:
        made = tokenizer.apply_chat_template(
            prompts, add_generation_prompt=True, tokenize=True, return_dict=True
        )
    except TemplateError as error:
        if len(prompts) > 1:  # which one?
            return [
                size
                for prompt, place in zip(prompts, places, strict=True)
                for size in _chat_sizes([prompt], [place], tokenizer)
            ]
        raise BadInput(
            f"{places[0]}: the policy's chat template does not take these messages: {error}"
        ) from error
    return [len(ids) for ids in made["input_ids"]]
