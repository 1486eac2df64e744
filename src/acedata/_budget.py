"""What answers cost, and the budget that is never passed.

Who talks to whom: `_ask` reserves the worst case of each request before a back-end may send it (every prompt token that
its text could come to, and as many answer tokens as it allows), and settles it with what the provider billed when the
answer comes. A try that may have been billed without an answer (a time-out, a cut connection) is counted at its worst
case. So at every instant `spent + reserved <= limit`, whatever is in flight and however it ends.

Amounts are kept as whole numbers of pico-dollars: a price of one dollar per million tokens is a million of them per
token, sums are exact, and "never over" needs no tolerance.

What is not covered: a provider that bills more than a request allows (more tokens than `max_tokens`, or a prompt of
more tokens than it has bytes plus the chat template), prices in the recipe that are not the provider's, and taxes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ._errors import BackendError
from ._requests import Answer, Request

PICO = 10**12

# What chat templates put around each message and around the chat (role names, separators, a default system prompt),
# in tokens: several times what the templates in use come to.
_PER_MESSAGE = 16
_PER_CHAT = 64


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens.

    Attributes:
        input, output: prompt and answer tokens.
        cached_input: prompt tokens that the provider had cached; None: as `input`.
        batch_factor: what a batch costs of all this (0.5 is half).
    """

    input: float = 0.0
    output: float = 0.0
    cached_input: float | None = None
    batch_factor: float = 1.0

    def of(self, answer: Answer) -> int:
        """Pico-dollars that an answer cost."""
        return self.pico(answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens, answer.batch)

    def worst(self, request: Request, batch: bool = False) -> int:
        """Pico-dollars that a request can cost at most."""
        return self.pico(most_prompt_tokens(request), request.max_tokens, 0, batch)

    def pico(self, prompt: float, completion: float, cached: float = 0, batch: bool = False) -> int:
        """Pico-dollars of so many tokens, `cached` of the prompt's among them; rounded up."""
        cached_price = self.input if self.cached_input is None else self.cached_input
        cached = min(cached, prompt)
        micro = (prompt - cached) * self.input + cached * cached_price + completion * self.output
        return math.ceil(round(micro * 1_000_000 * (self.batch_factor if batch else 1.0), 3))


def most_prompt_tokens(request: Request) -> int:
    """An upper bound of the prompt's tokens: tokenizers of text make no more tokens than it has bytes in UTF-8."""
    texts = sum(len(message["content"].encode("utf-8", "surrogatepass")) for message in request.messages)
    return texts + _PER_MESSAGE * len(request.messages) + _PER_CHAT


def dollars(pico: int) -> float:
    return pico / PICO


class Budget:
    """A sum of money, what was spent of it, and what is reserved for requests in flight.

    Args:
        limit: US dollars; None: no limit, only counting.
        prices: price by (provider, model).
        spent: US dollars that earlier runs spent.
    """

    def __init__(
        self,
        limit: float | None = None,
        prices: Mapping[tuple[str, str], Price] | None = None,
        spent: float = 0.0,
    ) -> None:
        self.limit = None if limit is None else math.floor(round(limit * PICO, 3))
        self.prices = dict(prices or {})
        self.spent = math.ceil(round(spent * PICO, 3))
        """Pico-dollars that were billed, or may have been."""
        self.lost = 0
        """Of them, those for tries that brought no answer, at their worst case."""
        self.reserved = 0
        """Pico-dollars that what is in flight can cost at most."""

    def price(self, request: Request) -> Price:
        """The price of a request's model. Without a limit, an unknown price counts as nothing.

        Raises:
            BackendError: there is a limit, and no price to hold it with.
        """
        price = self.prices.get((request.provider, request.model))
        if price is None:
            if self.limit is not None:
                raise BackendError(
                    f"there is a budget, but the recipe gives no price for {request.model} of {request.provider}; add "
                    f"`price: {{input: …, output: …}}` (US dollars per million tokens; 0 for a model of your own)"
                )
            return Price()
        return price

    def reserve(self, amount: int) -> bool:
        """Put pico-dollars aside, if the budget covers them."""
        if self.limit is not None and self.spent + self.reserved + amount > self.limit:
            return False
        self.reserved += amount
        return True

    def settle(self, reserved: int, actual: int) -> None:
        """An end of what `reserve` was called for: so much was billed."""
        self.reserved -= reserved
        self.spent += actual

    def lose(self, amount: int) -> None:
        """A try that may have been billed in vain. Its reservation becomes spent."""
        self.reserved -= amount
        self.spent += amount
        self.lost += amount
