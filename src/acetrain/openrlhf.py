"""The rule reward as OpenRLHF calls it: from a file, or over HTTP.

File. `--reward.remote_url` (`--remote_rm_url` in older versions) names a Python file with `reward_func`. Either one of
three lines:

    from acetrain.openrlhf import score
    def reward_func(queries, prompts, labels, **kwargs):
        return score(queries, prompts, labels, unknown="zero", mode="binary")

or this very file, with the options in the environment: ACETRAIN_REWARD='{"unknown": "zero", "mode": "binary"}'.

HTTP. `acetrain reward-server --unknown zero` answers the POST that OpenRLHF sends to a URL.

Choose `unknown="zero"`: a completion that could not be judged is paid 0.0 and counted in the log (`unknown` = 1).
`"raise"` does not end a run here. OpenRLHF 0.11.2 (`SingleTurnAgentExecutor` in its utils/agent.py) asks for one
completion at a time and catches whatever a reward raises: a line in its log, and a completion whose reward is None. Its
experience maker then breaks down over that None, after the whole rollout and without a word of why. Over HTTP it first
asks four times more, a second apart.

A label is a row's tests: a JSON list, or a list of texts. A query is prompt and answer in one text; the answer is what
follows the prompt, without the special tokens at its end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OPTIONS = "ACETRAIN_REWARD"
MAX_BODY = 1 << 30

_SPECIAL_END = re.compile(r"(?:<\|[a-z_]{1,24}\|>|</s>|<eos>|<end_of_turn>|<pad>)\Z")


def reward_func(queries: Any, prompts: Any, labels: Any, **kwargs: Any) -> dict[str, Any]:
    """The file form. Options come from ACETRAIN_REWARD, a JSON object; `unknown` must be among them."""
    del kwargs
    import os

    from acetrain import openrlhf

    return openrlhf.score(queries, prompts, labels, **json.loads(os.environ.get(openrlhf.OPTIONS, "{}")))


def score(
    queries: Sequence[str],
    prompts: Sequence[str],
    labels: Sequence[object],
    *,
    unknown: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """What a file's `reward_func` returns.

    Args:
        queries: prompt and answer in one text each.
        prompts: the prompts.
        labels: tests of each.
        unknown: "zero", or "raise", which OpenRLHF swallows (see above); must be chosen.
        options: of `acetrain.RuleReward`.

    Returns:
        `rewards` (float tensor, one per query), `scores` (the same within 0 to 1, for dynamic filtering) and
        `extra_logs` (name to float tensor).

    Raises:
        ValueError: `unknown` was not chosen, a bad option, or the three lists differ in length.
        RuntimeError: a completion could not be judged, and `unknown` is "raise".
        acesandbox.SandboxError: nothing can be judged, now or any longer (see `acetrain.RuleReward`).
    """
    import torch

    plain = plain_score(queries, prompts, labels, unknown=unknown, **options)
    logs = {name: torch.tensor(values, dtype=torch.float32) for name, values in plain["extra_logs"].items()}
    return {
        "rewards": torch.tensor(plain["rewards"], dtype=torch.float32),
        "scores": torch.tensor(plain["scores"], dtype=torch.float32),
        "extra_logs": logs,
    }


def plain_score(
    queries: Sequence[str],
    prompts: Sequence[str],
    labels: Sequence[object],
    *,
    unknown: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """As `score`, with lists in place of tensors: the HTTP form's answer.

    Raises:
        ValueError, RuntimeError, acesandbox.SandboxError: as `score`.
    """
    from acetrain._neighbours import figures, number, reward_for

    if not len(queries) == len(prompts) == len(labels):
        raise ValueError(f"{len(queries)} queries, {len(prompts)} prompts and {len(labels)} labels")
    reward = reward_for(unknown, **options)
    answers = [answer_of(query, prompt) for query, prompt in zip(queries, prompts, strict=True)]
    scores = reward.scores(answers, labels)
    rewards = [number(reward, found, answer, unknown) for found, answer in zip(scores, answers, strict=True)]
    said = figures(reward, scores)
    return {
        "rewards": rewards,
        "scores": [min(1.0, max(0.0, value)) for value in rewards],
        "extra_logs": {name: [one[name] for one in said] for name in (said[0] if said else ())},
    }


def answer_of(query: str, prompt: str) -> str:
    """The answer in a query: what follows the prompt, without special tokens at its end.

    A query that does not hold its prompt (special tokens were decoded away on one side) is taken whole: the program is
    its last Python block then.
    """
    at = query.find(prompt)
    answer = query[at + len(prompt) :] if at >= 0 else query
    while True:
        answer = answer.rstrip()
        found = _SPECIAL_END.search(answer, max(0, len(answer) - 32))
        if found is None:
            return answer
        answer = answer[: found.start()]


def serve(host: str = "127.0.0.1", port: int = 5000, *, unknown: str, **options: Any) -> ThreadingHTTPServer:
    """A server for the HTTP form; `serve_forever` runs it.

    POST to any path: {"query": [...], "prompts": [...], "labels": [...]}; the answer is {"rewards": [...], "scores":
    [...], "extra_logs": {...}}. 400 with `detail` for a request that cannot be read or has no labels (AceCoder's fork
    of OpenRLHF sends queries only, for reward models). 500 with `detail` where a completion could not be judged and
    `unknown` is "raise", or where nothing can be: OpenRLHF asks five times and then goes on without a reward.

    Args:
        host, port: where to listen; there is no authentication, so keep it to this machine or a private network.
        unknown: "zero", or "raise", which OpenRLHF swallows (see above).
        options: of `acetrain.RuleReward`.

    Raises:
        ValueError: `unknown` is neither, or a bad option.
        OSError: nobody can listen there.
    """
    from acetrain._neighbours import reward_for

    reward_for(unknown, **options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 300  # seconds that a client may say nothing in the middle of a request, or between two

        def do_POST(self) -> None:
            try:
                self._post()
            except ConnectionError:  # the client went away: nobody is there to be told
                self.close_connection = True

        def _post(self) -> None:
            code, value = self._answer()
            data = json.dumps(value).encode("ascii")
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _answer(self) -> tuple[int, dict[str, Any]]:
            try:
                size = int(self.headers.get("Content-Length", ""))
                if not 0 <= size <= MAX_BODY:
                    raise ValueError("too long")
            except ValueError:
                self.close_connection = True
                return 400, {"detail": f"Content-Length must be a number up to {MAX_BODY}"}
            try:
                asked = json.loads(self.rfile.read(size))
                columns = [asked[name] for name in ("query", "prompts", "labels")]
                if not all(isinstance(column, list) for column in columns):
                    raise TypeError("not lists")
                if not all(isinstance(text, str) for column in columns[:2] for text in column):
                    raise TypeError("not texts")
            except (ValueError, KeyError, TypeError, RecursionError):
                return 400, {
                    "detail": 'the body must be {"query": [text], "prompts": [text], "labels": [tests]}'
                }
            try:
                return 200, plain_score(*columns, unknown=unknown, **options)
            except ValueError as error:
                return 400, {"detail": str(error)}
            except Exception as error:
                return 500, {"detail": f"{type(error).__name__}: {error}"}

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: a line per request of a training run helps nobody."""

    return ThreadingHTTPServer((host, port), Handler)
