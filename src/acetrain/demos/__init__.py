"""Demonstrations that learn on a processor alone, in minutes: real trainers, the real sandbox, seeds fixed in advance.

    acetrain demo rm          a reward model learns to read the question
    acetrain demo rl          a policy learns from the rule reward, beside its controls
    acetrain demo forging     the same run under an ordinary judge and under the sealed one

Who uses whom: `_tasks` invents the tasks and their tests, `_tokens` and `_model` give a language model small enough to
be trained from nothing, and each demonstration is one file that reads from top to bottom. docs/demonstrations.md says
what was measured, and what it does not show.
"""
