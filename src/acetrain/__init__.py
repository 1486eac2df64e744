"""Rewards, reward models and reinforcement learning on top of sandboxed verdicts.

This room is empty in this release: the recipes come in a later one. What exists today is `acesandbox`.
"""
