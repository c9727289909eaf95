"""`python -m raftkv`: the command line without its installed script."""

from __future__ import annotations

from raftkv.cli import main

main()
