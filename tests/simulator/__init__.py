"""A deterministic simulator of the Raft core: virtual clock, network and disks, all from one seed.

Reading order: `profile` (how rough a run is), `clock`, `network`, `disk`, `process` (the virtual driver:
one life of a node), `node`, `clients`, `faults`, `cluster` (puts them together), `properties/` (what must
always hold), `run` (one seed from faults to rest), `broken_rules` (what must be caught).

Everything random is drawn from one `random.Random(seed)`, and nothing iterates over a set, so a seed
is a run: two runs of it give the same trace, byte for byte, in any process.
"""
