"""Questions for a run: an export, a file or a data set on the hub becomes rows with `prompt` and `test_cases`.

Whatever else a row has stays out of the run, but for its `id` and the number of tests that its prompt shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acedata import BadInput

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
    """Reads the recipe's questions.

    Args:
        place: the data set: a file, a folder or a name on the hub.
        tokenizer: of the policy; it counts the prompts' tokens.

    Raises:
        BadInput: there are none, or a column is missing or is not what it should be.
    """
    config = recipe.data
    rows = _open(config, place)
    for name in ("prompt", "test_cases"):
        if name not in rows.column_names:
            raise BadInput(f"{place}: no column {name!r}; there are {', '.join(rows.column_names)}")
    if config.skip_shown and "shown_tests" not in rows.column_names:
        raise BadInput(f"{place}: no column 'shown_tests', which `skip_shown: true` needs")
    rows = rows.select_columns([name for name in KEPT if name in rows.column_names])
    if config.limit is not None:
        rows = rows.select(range(min(config.limit, len(rows))))
    found = len(rows)
    if not found:
        raise BadInput(f"{place}: no questions")
    first = rows[0]
    if not isinstance(first["prompt"], (str, list)):
        raise BadInput(
            f"{place}: column 'prompt' must be a text or messages, not {type(first['prompt']).__name__}"
        )
    if not isinstance(first["test_cases"], (str, list)):
        raise BadInput(f"{place}: column 'test_cases' must be a JSON list as text")
    if isinstance(first["prompt"], list) and not tokenizer.chat_template:
        raise BadInput(f"{place}: the prompts are messages, and the policy's tokenizer has no chat template")
    if config.prompt == "r1":
        rows = rows.map(lambda row: {"prompt": r1_prompt(row["prompt"])})
    kept = [
        number for number, size in enumerate(_sizes(rows, tokenizer)) if size <= recipe.rollout.prompt_tokens
    ]
    if not kept:
        raise BadInput(f"{place}: every prompt is longer than {recipe.rollout.prompt_tokens} tokens")
    return Questions(rows.select(kept), found, found - len(kept))


def r1_prompt(prompt: Any) -> Any:
    """A prompt that asks for thought and then one block of Python. A system message of its own is replaced."""
    if isinstance(prompt, str):
        return R1_TEXT.format(system=R1_SYSTEM, question=prompt.strip())
    said = [message for message in prompt if message["role"] != "system"]
    return [{"role": "system", "content": R1_SYSTEM}, *said]


def _open(config: DataConfig, place: str) -> Any:
    from datasets import load_dataset

    path = Path(place)
    try:
        if path.is_file():
            kind = "parquet" if path.suffix == ".parquet" else "json"
            return load_dataset(kind, data_files=place, split="train")
        if path.is_dir():
            return load_dataset(place, config.config, split=config.split)
        if place.startswith((".", "/", "~")) or place.count("/") > 1:
            raise BadInput(f"{place}: no such file or folder")
        return load_dataset(place, config.config, split=config.split, revision=config.revision)
    except (ValueError, OSError) as error:
        raise BadInput(f"{place}: cannot be read: {error}") from error


def _sizes(rows: Any, tokenizer: Any, batch: int = 512) -> Iterator[int]:
    for start in range(0, len(rows), batch):
        prompts = rows[start : start + batch]["prompt"]
        if isinstance(prompts[0], str):
            yield from (len(ids) for ids in tokenizer(prompts)["input_ids"])
        else:
            yield from (
                len(ids)
                for ids in tokenizer.apply_chat_template(
                    prompts, add_generation_prompt=True, tokenize=True, return_dict=True
                )["input_ids"]
            )
