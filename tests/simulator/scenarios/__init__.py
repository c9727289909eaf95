"""Directed scenarios: scripts of faults that reach at once what chance reaches seldom.

Each takes a `Stage` and plays; the properties judge. A healthy core passes all of them, and for each
there is a broken rule that is caught on it (`test_broken_rules`).
"""
