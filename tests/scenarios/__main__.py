"""Compare every scenario's transcripts with what the core does, or write them anew.

python -m tests.scenarios                          name the files that differ
python -m tests.scenarios --rewrite [FILE ...]     write the transcripts of these files, or of all
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.scenarios.files import played_file, scenario_files
from tests.scenarios.script import ScriptError


def main() -> int:
    """Parse the command line and play; 1 when a file differs or can't be played."""
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rewrite", action="store_true", help="write the transcripts anew")
    parser.add_argument("files", nargs="*", type=Path, help="only these")
    arguments = parser.parse_args()
    failures = 0
    for path in [file.resolve() for file in arguments.files] or scenario_files():
        try:
            text = played_file(path)
        except ScriptError as error:
            failures += 1
            sys.stdout.write(f"{error}\n")
            continue
        if text != path.read_text(encoding="utf-8"):
            sys.stdout.write(
                f"{path.parent.name}/{path.name} {'is rewritten' if arguments.rewrite else 'differs'}\n"
            )
            if arguments.rewrite:
                path.write_text(text, encoding="utf-8")
            else:
                failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
