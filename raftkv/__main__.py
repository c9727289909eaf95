"""`python -m raftkv`: the command line without its installed script."""

from __future__ import annotations

import sys

from raftkv.cli import main

sys.exit(main())
