"""The decoder under atheris (coverage-guided): any bytes are refused with `CodecError` or are a value.

`run.sh codec` starts it; arguments go to libFuzzer: `fuzz_codec.py [CORPUS] -max_total_time=60`. What comes out is
encoded by both encoders, which must agree, and what they write must be readable again. `-rss_limit_mb` and `-timeout`
are the bounds on memory and work.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

with atheris.instrument_imports(include=["acesandbox.guest"]):
    from acesandbox.guest import codec

from tests.sandbox import codec_values

LIMITS = ["-rss_limit_mb=2048", "-timeout=10", "-max_len=4096"]


def one_input(data: bytes) -> None:
    if len(codec.shown(data, 100)) > 100:
        raise AssertionError("more was shown than there is room for")
    try:
        value = codec.decode_value(data)
    except codec.CodecError:
        return
    again, strict = codec.encode_value(value)
    used_up = b"Mi" in data  # by encoding it: an iterator
    if again[:1] != b"O" and not used_up and (again, strict) != codec.encode_in_python(value):
        raise AssertionError("the encoders disagree")
    codec.decode_value(again)


def seeds(folder: Path) -> None:
    """Something to start from: one of every type, and graphs."""
    folder.mkdir(parents=True, exist_ok=True)
    values = [
        *codec_values.BY_CONSTRUCTOR,
        *map(codec_values.random_graph, range(50)),
        codec_values.Color.RED,
    ]
    for number, value in enumerate(values):
        (folder / f"seed{number}").write_bytes(codec.encode(value))


def main() -> None:
    folders = [Path(a) for a in sys.argv[1:] if not a.startswith("-")]
    if folders:
        seeds(folders[0])
    atheris.Setup([sys.argv[0], *LIMITS, *sys.argv[1:]], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
