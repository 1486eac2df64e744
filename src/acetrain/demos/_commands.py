"""The commands `acetrain demo rm | rl | forging`; what they run is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

demo_app = typer.Typer(
    name="demo",
    help="Demonstrations that learn on one core, in minutes, with controls.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Seeds = Annotated[
    str | None, typer.Option(metavar="N,N,…", help="default: the three that were fixed in advance, 1,2,3")
]
Steps = Annotated[int | None, typer.Option(min=1, metavar="N", help="of GRPO; then no promise is checked")]
Quick = Annotated[bool, typer.Option("--quick", help="one seed, a few steps: to see that it runs")]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="JSON, table and plot; finished seeds are kept. Default: demo-NAME, or demo-NAME-quick",
    ),
]


@demo_app.command("rm")
def rm(seeds: Seeds = None, out: Out = None, quick: Quick = False) -> int:
    """A reward model learns to read the question: counterfactual pairs, and best of 16 against greedy."""
    from . import reward_model as demonstration

    settings = demonstration.QUICK if quick else demonstration.FULL
    chosen, place = _seeds(seeds, demonstration.SEEDS, quick), _place(out, "rm", quick)
    return demonstration.main(chosen, settings, place, check=not quick)


@demo_app.command("rl")
def rl(
    seeds: Seeds = None,
    steps: Steps = None,
    out: Out = None,
    quick: Quick = False,
) -> int:
    """A policy learns from the rule reward, beside shuffled rewards and rejection fine-tuning."""
    from dataclasses import replace

    from . import rl as demonstration

    settings = demonstration.QUICK if quick else demonstration.FULL
    if steps is not None:
        settings = replace(settings, steps=steps)
    chosen, place = _seeds(seeds, demonstration.SEEDS, quick), _place(out, "rl", quick)
    return demonstration.main(chosen, settings, place, check=not quick and steps is None)


@demo_app.command("forging")
def forging(
    seeds: Seeds = None,
    steps: Steps = None,
    out: Out = None,
    quick: Quick = False,
) -> int:
    """The same run under an ordinary judge and under the sealed one, with 2 % forging demonstrations."""
    from dataclasses import replace

    from . import forging as demonstration

    settings = demonstration.QUICK if quick else demonstration.FULL
    if steps is not None:
        settings = replace(settings, steps=steps)
    chosen, place = _seeds(seeds, demonstration.SEEDS, quick), _place(out, "forging", quick)
    return demonstration.main(chosen, settings, place, check=not quick and steps is None)


def _place(out: Path | None, name: str, quick: bool) -> Path:
    """Quick runs have a folder of their own: they would mix with full ones."""
    return out if out is not None else Path(f"demo-{name}-quick" if quick else f"demo-{name}")


def _seeds(text: str | None, usual: tuple[int, ...], quick: bool) -> list[int]:
    if text is None:
        return list(usual[:1] if quick else usual)
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"must be whole numbers with commas between, not {text!r}", param_hint="--seeds"
        ) from None
    if any(not 0 <= seed < 2**31 for seed in seeds) or len(set(seeds)) != len(seeds):
        raise typer.BadParameter(
            f"must be different numbers from 0 to 2147483647, not {text!r}", param_hint="--seeds"
        )
    return seeds
