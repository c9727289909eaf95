"""Tests of what the benchmarks read, send and refuse; no figure of theirs is asserted anywhere."""
