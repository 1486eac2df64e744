"""The C encoder with random object graphs, under ASan and UBSan (`run.sh encode` makes the build and preloads them).

`python tests/fuzz/fuzz_encode.py SECONDS [SEED]`. Each graph is encoded with room for all of it and with less, with the
real fallback and with one that changes the very containers that are being walked, from the middle of the walk.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from acesandbox.guest import _native, codec, codec_kinds
from tests.sandbox import codec_values

MAX_BYTES = 1 << 20


def mutating_fallback(draw: random.Random, graph: Any) -> Any:
    parts = graph if isinstance(graph, (list, tuple)) else [graph]
    containers = [part for part in parts if isinstance(part, (list, dict, set))]

    def fallback(value: Any, tokens: Any, must_be_token: bool) -> Any:
        if containers:
            victim = draw.choice(containers)
            if draw.random() < 0.5:
                victim.clear()
            elif isinstance(victim, list):
                victim.extend([object() for _ in range(draw.randrange(3))])
            elif isinstance(victim, dict):
                victim[draw.random()] = object()
            else:
                victim.add(draw.random())
        return codec_kinds.describe(value, tokens, must_be_token)

    return fallback


def one_graph(seed: int) -> None:
    draw = random.Random(seed)
    graph = codec_values.random_graph(seed)
    data, strict = _native.encode(graph, MAX_BYTES, codec_kinds.describe)
    if (data, strict) != codec.encode_in_python(graph, MAX_BYTES):
        raise AssertionError(f"the encoders disagree about graph {seed}")
    codec.decode_value(data)
    for room in (draw.randrange(len(data) + 1), len(data)):
        try:
            _native.encode(graph, room, codec_kinds.describe)
        except ValueError:
            if room == len(data):
                raise
    try:
        _native.encode(graph, MAX_BYTES, mutating_fallback(draw, graph))
    except ValueError:
        pass  # a container that grows whenever it is looked at does not fit in the end


def main() -> None:
    until = time.monotonic() + float(sys.argv[1])
    first = seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 40)
    while time.monotonic() < until:
        try:
            one_graph(seed)
        except BaseException:
            print(f"graph {seed}", file=sys.stderr)
            raise
        seed += 1
    print(f"{seed - first} graphs from {first}: nothing found")


if __name__ == "__main__":
    main()
