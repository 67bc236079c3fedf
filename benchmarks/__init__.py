"""Side-by-side timings against the peers; ``python -m benchmarks`` prints them and writes ``docs/benchmarks.md``."""
