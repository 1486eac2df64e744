"""Scores of a reward model for the samples of a benchmark: what best-of-N chooses by.

    problem + programs ──chats──▶ RewardModel, or an endpoint ──numbers──▶ BENCHMARK.NAME.scores.jsonl ──▶ _samples

Who scores is a `Rater`: chats in, one number each out. There are two, and a function of your own is a third:

- `acetrain.RewardModel` (`_reward_model`): ours, AceCodeRM's published form, or any `…ForSequenceClassification`;
- an endpoint: vLLM's `/pooling` or `/classify`, which render the chat themselves; or any other address, in OpenRLHF's
  form: `{"query": [text, …]}` gives `{"rewards": [number, …]}`, texts rendered by a tokenizer that has to be named.

A chat is made in the format that the model was trained with: `pair-1`, the benchmark's prompt (`bench-1`, which is that
format) and the program in its frame; or `raw`, the question and the program alone.

Scores are written problem by problem, each with a digest of what was scored and with the model that scored it
(`_reward_model._identity`). A second run scores what is new or changed alone. A sample without a program is scored
below all others of its problem.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from acedata._errors import BackendError, BadInput
from acedata._formats import answer_text
from acedata._requests import Message

from . import _prompts
from ._benchmarks import Benchmark, Problem, key_of
from ._finite import finite
from ._generate import shown_address
from ._reward_model import _identity as identity
from ._samples import Samples
from ._whole import write_whole

FORMATS = ("pair-1", "raw")
Chat = Sequence[Message]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TRIES = 6
_AT_A_TIME = 16


class Rater(Protocol):
    """Scores answers: higher is better."""

    @property
    def format(self) -> str:
        """One of `FORMATS`."""

    def rate(self, chats: Sequence[Chat]) -> Sequence[float]:
        """One number each, in order. A chat is a user's and an assistant's message."""

    def close(self) -> None:
        """Gives memory or connections back."""


@dataclass(frozen=True, slots=True)
class Named:
    """A reward model as the command line names it: `NAME=MODEL[,OPTION=VALUE…]`.

    Attributes:
        name: of its row in the table.
        where: folder, hub name, or address.
        options: `format` and `max_length`; of a model `dtype`, `device`, `revision`, `template`, `batch_tokens`; of an
            endpoint `model` (its name there) and `tokenizer` (for OpenRLHF's form).
    """

    name: str
    where: str
    options: Mapping[str, str]

    @property
    def shown(self) -> str:
        """`where`, without what may be a password in it."""
        return shown_address(self.where) if _is_address(self.where) else self.where

    @classmethod
    def read(cls, text: str) -> Named:
        """Raises BadInput where the text is not in that form."""
        name, equals, rest = text.partition("=")
        where, *pairs = rest.split(",")
        if not equals or not where or not _NAME.fullmatch(name):
            raise BadInput(f"--rm {text}: expected NAME=MODEL, with a plain name")
        if _is_address(where):
            try:
                _ = urlsplit(where).port
            except ValueError as error:
                raise BadInput(f"--rm {name}: is no address: {error}") from None
        options = dict(pair.partition("=")[::2] for pair in pairs)
        known = _OF_ENDPOINTS if _is_address(where) else _OF_MODELS
        for option, value in options.items():
            if option not in known or not value:
                raise BadInput(
                    f"--rm {text}: {option!r} is no option here; there are {', '.join(sorted(known))}"
                )
        if options.get("format", "raw") not in FORMATS:
            raise BadInput(
                f"--rm {text}: there is no format {options['format']!r}; there are {', '.join(FORMATS)}"
            )
        for option in ("max_length", "batch_tokens"):
            if option in options and not options[option].isdigit():
                raise BadInput(f"--rm {text}: {option} must be a whole number")
        return cls(name, where, options)

    def open(self) -> Rater:
        """Raises BadInput or BackendError where there is no such model."""
        return _Endpoint(self) if _is_address(self.where) else _Model(self)

    def identity(self) -> str | None:
        """Which model stands there now; None where nobody can say.

        Raises:
            BadInput: a folder that cannot be read.
        """
        if _is_address(self.where):
            return identity.of_endpoint(self.where, self.options.get("model"))
        folder = Path(self.where)
        if not folder.is_dir():
            return identity.of_hub(self.where, self.options.get("revision"))
        try:
            return identity.of_folder(folder)
        except OSError as error:
            raise BadInput(f"--rm {self.name}={self.where}: cannot be read: {error}") from error


_OF_MODELS = {"format", "template", "max_length", "dtype", "device", "revision", "batch_tokens"}
_OF_ENDPOINTS = {"format", "model", "tokenizer"}


def _is_address(where: str) -> bool:
    return where.startswith(("http://", "https://"))


def chat_of(problem: Problem, program: str, format: str) -> tuple[Message, ...]:
    """Question and program as a reward model of this format was shown them."""
    if format == "raw":
        return (
            {"role": "user", "content": problem.question.strip()},
            {"role": "assistant", "content": program},
        )
    asked = _prompts.messages("bench-1", problem)[0]
    return (asked, {"role": "assistant", "content": answer_text("pair-1", program)})


def scores_file(
    benchmark: Benchmark,
    samples: Samples,
    named: Named,
    folder: Path,
    *,
    opened: Callable[[], Rater],
    model: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Scores all samples of a benchmark and writes them where `Samples.add_scores` can read them.

    Args:
        folder: gets `BENCHMARK.NAME.scores.jsonl`; what is there already and still holds is not scored again.
        opened: the rater; called only when there is something to score.
        model: which model it is (`Named.identity`): scores of another one do not hold. None: nobody can say, and scores
            hold that were made at the same place with the same options.
        on_progress: called with (scored, all) samples.

    Raises:
        BadInput: the rater gave something else than one finite number per chat.
        BackendError: an endpoint cannot be asked.
    """
    path = folder / f"{benchmark.name}.{named.name}.scores.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    known = _known(path, model)
    prefix = benchmark.spec.prefix
    done, total = 0, sum(len(task.samples) for task in samples.tasks.values())
    lines: list[str] = []
    # New scores are added to the journal as they come, so a kill costs one problem; the file is written whole.
    journal = _journal(path)
    with journal.open("a", encoding="utf-8") as file:
        for problem in benchmark:
            given = samples.tasks.get(key_of(problem.task_id, prefix))
            if given is None or not given.samples:
                continue
            programs = [sample.program(problem) for sample in given.samples]
            digest = _digest(named, problem, programs)
            scores, made_by = known.get(digest, ([], None))
            new = len(scores) != len(programs)
            if new:
                scores, made_by = _rated(opened(), named, problem, programs), model
            row = {"task_id": problem.task_id, "scores": scores, "digest": digest}
            lines.append(json.dumps(row | ({"model": made_by} if made_by else {})) + "\n")
            if new:
                file.write("\n" + lines[-1])
                file.flush()
            done += len(programs)
            if on_progress is not None:
                on_progress(done, total)
    write_whole(path, "".join(lines))
    journal.unlink()
    return path


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}.journal")


def _known(path: Path, model: str | None) -> dict[str, tuple[list[float], str | None]]:
    """Scores that hold and the model that made them, by digest; of the file, and of the journal of a run that was
    killed."""
    found: dict[str, tuple[list[float], str | None]] = {}
    for one in (path, _journal(path)):
        if not one.is_file():
            continue
        for line in one.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
                if model in (None, row.get("model")):
                    scores = [finite(score, "a score") for score in row["scores"]]
                    found[str(row["digest"])] = scores, row.get("model")
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError, BadInput):
                continue  # an empty line, or one that a kill cut off
    return found


def _digest(named: Named, problem: Problem, programs: Sequence[str | None]) -> str:
    told = [named.where, sorted(named.options.items()), problem.question, problem.framed, list(programs)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def _rated(rater: Rater, named: Named, problem: Problem, programs: Sequence[str | None]) -> list[float]:
    chats = [chat_of(problem, program, rater.format) for program in programs if program is not None]
    # A model often writes the same program twice; it has one score.
    different = list({chat[1]["content"]: chat for chat in chats}.values())
    raw = list(rater.rate(different)) if different else []
    told = f"{named.name} gave {len(raw)} scores for {len(different)} programs of {problem.task_id}"
    if len(raw) != len(different):
        raise BadInput(told)
    try:
        given = [finite(score, "one of them") for score in raw]
    except BadInput as error:
        raise BadInput(f"{told}: {error}") from None
    by_text = {chat[1]["content"]: score for chat, score in zip(different, given, strict=True)}
    lowest = min(given, default=0.0) - 1.0
    rest = iter(chats)
    return [lowest if program is None else by_text[next(rest)[1]["content"]] for program in programs]


class _Model:
    """A reward model of this process."""

    def __init__(self, named: Named) -> None:
        from ._reward_model._model import RewardModel

        given: dict[str, Any] = dict(named.options)
        for name in ("max_length", "batch_tokens"):
            if name in given:
                given[name] = int(given[name])
        self._model: Any = RewardModel.load(named.where, **given)

    @property
    def format(self) -> str:
        return str(self._model.form.format)

    def rate(self, chats: Sequence[Chat]) -> Sequence[float]:
        return list(self._model.score([list(chat) for chat in chats]))

    def close(self) -> None:
        self._model = None


class _Endpoint:
    """A reward model at an address; the requests of a call go out a few at a time."""

    def __init__(self, named: Named) -> None:
        import httpx2

        self._named = named
        self._url = named.where
        self._shown = shown_address(self._url)
        self._kind = self._shown.rstrip("/").rpartition("/")[2]
        self._tokenizer: Any = None
        if self._kind not in ("pooling", "classify"):
            if "tokenizer" not in named.options:
                raise BadInput(
                    f"--rm {named.name}={self._shown}: OpenRLHF's form wants whole texts; name the model's tokenizer "
                    "with tokenizer=…, or an address that ends in /pooling or /classify"
                )
            from transformers import AutoTokenizer

            self._tokenizer = AutoTokenizer.from_pretrained(named.options["tokenizer"])
        self._client = httpx2.Client(timeout=httpx2.Timeout(180.0, connect=20.0))
        self._threads = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="acetrain-rate")

    @property
    def format(self) -> str:
        return self._named.options.get("format", "raw")

    def rate(self, chats: Sequence[Chat]) -> Sequence[float]:
        if self._tokenizer is not None:
            texts = [self._tokenizer.apply_chat_template(list(chat), tokenize=False) for chat in chats]
            answer = self._ask({"query": texts, "prompts": [], "labels": []})
            rewards = answer.get("rewards")
            if not isinstance(rewards, list):
                raise BackendError(f"{self._shown}: the answer has no list 'rewards'")
            return [self._number(value) for value in rewards]
        return list(self._threads.map(self._one, chats))

    def close(self) -> None:
        self._threads.shutdown()
        self._client.close()

    def _one(self, chat: Chat) -> float:
        body: dict[str, Any] = {"messages": list(chat), "add_generation_prompt": False}
        # Raw scores: a sigmoid would make the highest ones equal. The option's name depends on vLLM's version.
        body |= {"use_activation": False, "activation": False}
        if "model" in self._named.options:
            body["model"] = self._named.options["model"]
        answer = self._ask(body)
        try:
            value: Any = answer["data"][0]["probs" if self._kind == "classify" else "data"]
            while isinstance(value, list):  # a score per token ends with that of the whole text
                value = value[-1]
        except (KeyError, IndexError, TypeError):
            raise BackendError(f"{self._shown}: the answer holds no score: {str(answer)[:200]}") from None
        return self._number(value)

    def _number(self, value: Any) -> float:
        try:
            return finite(value, "a score")
        except BadInput as error:
            raise BackendError(f"{self._shown}: {error}") from None

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        import httpx2

        said = ""
        for turn in range(_TRIES):
            if turn:
                time.sleep(0.25 * 2**turn)
            try:
                response = self._client.post(self._url, json=body)
                if response.status_code == 200:
                    found = response.json()
                    if isinstance(found, dict):
                        return found
                    said = "the answer is no object"
                else:
                    said = f"HTTP {response.status_code}: {response.text[:200]}"
                    if response.status_code < 500 and response.status_code != 429:
                        break
            except (httpx2.HTTPError, ValueError) as error:
                said = f"{type(error).__name__}: {error}"
        raise BackendError(f"{self._shown}: {said}")
