"""Chaos: real nodes on hosts of their own (network namespaces, small disks, clocks that jump).

Reading order: `isolation` (where everything is made, so that nothing outlives a run), `network`, `disks`,
`slow_disks`, `clocks`, `dials`, `logs` (what hosts are made of), `nemeses` (what is done to them), `stage`
(puts them together). What clients do, the checker and the figures are those of `tests.consistency`.
"""
