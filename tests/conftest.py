"""What every test may rely on: the `needs_tool` marker, and hypothesis without deadlines."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import settings

# A deadline would assert wall-clock time on a shared machine.
settings.register_profile("raftkv", deadline=None, print_blob=True)
settings.load_profile("raftkv")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test without its program, but never where CI is set: there a skip would hide a gap."""
    for marker in item.iter_markers("needs_tool"):
        (name,) = marker.args
        if shutil.which(name) is None:
            reason = f"needs the program {name}"
            if os.environ.get("CI"):
                pytest.fail(f"{reason}, which CI must have", pytrace=False)
            pytest.skip(reason)
