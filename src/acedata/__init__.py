"""Turns seed code into datasets of problems, tests and preference pairs.

This room is empty in this release: the pipeline comes in a later one. What exists today is `acesandbox`.
"""
