"""Measurements: one question per file, contenders interleaved in one run, each in fresh processes.

`python -m benchmarks.bench_throughput` and its neighbours can be run alone; `python -m benchmarks` (make bench) runs
them one after the other. Each prints a table and writes JSON with the machine and the versions it was measured on.

What is timed is said in each file's docstring. Ratios are taken between contenders of the same round, and the median
of the rounds is reported: on a shared machine a figure of another run says little.
"""
