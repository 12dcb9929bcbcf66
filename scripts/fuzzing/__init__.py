"""The fuzzers: hostile inputs for everything that reads a file, a reply or an answer. `scripts/fuzz.py` runs them."""
