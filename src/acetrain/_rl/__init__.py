"""Reinforcement learning on verdicts: GRPO, RLOO and REINFORCE++, from a recipe to a model.

Who uses whom: `_recipe` says what is trained, `_data` makes its prompts, `_reward` its reward functions, `_train` hands
all of it to TRL's trainers (`_reinforce_pp` is the one that TRL lacks). `_curve` draws what the trainer logs while it
trains, `_run` knows the run's folder: the recipe it was started with, checkpoints to go on from, the finished model.
`_commands` is the command line.

docs/reinforcement-learning.md explains recipes and algorithms, docs/gpu-jobs.md how a job is started.
"""
