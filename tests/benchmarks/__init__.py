"""Short versions of the benchmarks: they must run, and what they promise must hold in small."""
