"""Reads a pickle that holds one text, and nothing but that.

A pickle is a program for a small machine, and one that can call anything. What LiveCodeBench pickles is a single str,
so no machine is needed: the opcodes are walked one by one (`pickletools` decodes, and runs nothing), five kinds are let
through (frame marks, one text, memo notes, the end), and every other opcode refuses the whole pickle before anything is
built. There are no globals, no extensions, no persistent ids, no containers, and no memo table that an index could blow
up. The text is the only object that ever exists.
"""

from __future__ import annotations

import base64
import binascii
import pickletools
import zlib

MAX_BYTES = 1 << 30
"""Most that one problem's tests may unpack to. The published ones stay under a third of it."""

_TEXT = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"})
_HARMLESS = frozenset({"PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"})


class Refused(ValueError):
    """The data are not what they should be; the message says how."""


def pickled_text(data: bytes) -> str:
    """The one text in a pickle.

    Raises:
        Refused: anything else is in it, or it is broken.
    """
    found: str | None = None
    position = 0
    try:
        for opcode, argument, place in pickletools.genops(data):
            position = place or 0
            if opcode.name in _TEXT:
                if found is not None:
                    raise Refused(f"byte {position}: a second object in a pickle that should hold one text")
                found = str(argument)
            elif opcode.name == "STOP":
                if found is None:
                    raise Refused("a pickle without an object")
                if position + 1 != len(data):
                    raise Refused(f"{len(data) - position - 1} bytes follow the end of the pickle")
                return found
            elif opcode.name not in _HARMLESS:
                raise Refused(
                    f"byte {position}: the pickle has the opcode {opcode.name}; only a plain text is accepted, since "
                    "a pickle can run any code"
                )
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"broken pickle after byte {position}: {error}") from None
    raise Refused("a pickle without an end")


def unpacked_text(encoded: str, max_bytes: int = MAX_BYTES) -> str:
    """base64, then zlib, then pickle: the text within.

    Raises:
        Refused: a layer is not what it should be, or it unpacks to more than `max_bytes`.
    """
    try:
        packed = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(f"neither JSON nor base64: {error}") from None
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(packed, max_bytes + 1)
    except zlib.error as error:
        raise Refused(f"base64 of something that zlib cannot unpack: {error}") from None
    if len(data) > max_bytes:
        raise Refused(f"unpacks to more than {max_bytes:,} bytes")
    if not inflater.eof or inflater.unused_data:
        raise Refused("the compressed data are cut off, or something follows them")
    return pickled_text(data)
