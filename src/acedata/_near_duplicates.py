"""Finds questions that say nearly what an earlier one says (MinHash with locality-sensitive hashing, `datasketch`).

Two questions are near when the estimated Jaccard similarity of their word shingles reaches the threshold. Questions are
taken in the order of the build, and each is compared with those that were kept so far; so of everything that is near
each other the first one stays, no two kept questions are near, and every dropped one is near one that is kept.
What comes out depends on the questions, their order and the seed alone.

The index proposes candidates, tuned to miss few; the estimate over all hash functions decides. With 128 of them its
standard error at 0.8 is 0.035. 90,000 questions take a minute or two and some 500 MB.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

THRESHOLD = 0.8
NGRAM = 5
PERMUTATIONS = 128
MAX_TEXT = 100_000
"""How much of a question is looked at, in characters."""


class Near(NamedTuple):
    """An earlier question that a question is near to.

    Attributes:
        key: what it was called when it was added.
        similarity: estimated Jaccard similarity of the two.
    """

    key: str
    similarity: float


class NearDuplicates:
    """The questions kept so far.

    Args:
        threshold: similarity from which two questions are one, above 0.
        ngram: words per shingle.
        permutations: hash functions.
        seed: of the hash functions.
    """

    def __init__(
        self,
        threshold: float = THRESHOLD,
        ngram: int = NGRAM,
        permutations: int = PERMUTATIONS,
        seed: int = 0,
    ) -> None:
        from datasketch import MinHash, MinHashLSH

        self._threshold = threshold
        self._ngram = ngram
        # The scheme is named: it decides what comes out, and another version's default is another one.
        self._blank = MinHash(num_perm=permutations, seed=seed, scheme="affine32")
        # A missed pair stays in the dataset, a candidate too many costs one comparison.
        try:
            self._index = MinHashLSH(threshold=threshold, num_perm=permutations, weights=(0.1, 0.9))
        except ValueError:
            # Near 1 its best choice is a single band, which it refuses; two long ones miss hardly more.
            self._index = MinHashLSH(num_perm=permutations, params=(2, permutations // 2))
        self._keys: list[str] = []
        self._signatures = np.empty((1024, permutations), np.uint32)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str, question: str) -> Near | None:
        """Keeps a question, unless it is near one that was kept: returns that one then, the nearest or else the first.

        Questions without words are kept.
        """
        sketch = self._blank.copy()
        sketch.update_batch(_shingles(question[:MAX_TEXT], self._ngram))
        if sketch.is_empty():
            return None
        near = self._nearest(sketch)
        if near is None:
            self._keep(key, sketch)
        return near

    def _nearest(self, sketch: Any) -> Near | None:
        candidates = np.array(sorted(self._index.query(sketch)), np.int64)
        if not len(candidates):
            return None
        equal = (self._signatures[candidates] == sketch.hashvalues).mean(axis=1)
        best = int(equal.argmax())
        if equal[best] < self._threshold:
            return None
        return Near(self._keys[int(candidates[best])], float(equal[best]))

    def _keep(self, key: str, sketch: Any) -> None:
        place = len(self._keys)
        if place == len(self._signatures):
            self._signatures = np.concatenate([self._signatures, np.empty_like(self._signatures)])
        self._signatures[place] = sketch.hashvalues
        self._keys.append(key)
        self._index.insert(place, sketch, check_duplication=False)


_WORD = re.compile(r"\w+")


def _shingles(text: str, n: int) -> list[bytes]:
    words = _WORD.findall(text.lower())
    if not words:
        return []
    # A text shorter than a shingle is one. A set would do, but its order would not be fixed; repeats do no harm.
    last = max(len(words) - n, 0)
    return [" ".join(words[start : start + n]).encode("utf-8", "replace") for start in range(last + 1)]
