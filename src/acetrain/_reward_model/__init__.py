"""Reward models: trained on preference pairs, loaded in the published form, scored, converted, reported.

Who uses whom: `_recipe` says what is trained, `_pairs` reads an AceCodePair export, `_forms` makes texts and tokens of
questions and answers, `_train` hands both to `trl.RewardTrainer`. `_model` scores, whatever form the weights have;
`_files` knows these forms on disk and turns one into another. `_report` says how good a model is on held-out pairs.
`_identity` says which model stands at a place now, `_run` keeps the folder of a training, `_commands` is the command
line.

A model's *form* is how its weights are named; its *format* and *template* are what text it wants. docs/reward-models.md
explains both.
"""
