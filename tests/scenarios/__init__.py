"""Scripts that are played on the pure Raft core, each with the transcript of what came of it.

Every `.txt` file of `quorum`, `membership` and `interaction` is one scenario: a title that says which rule it
shows, commands behind `>`, and indented below each what the core did. `python -m tests.scenarios` compares
them, with `--rewrite` it writes the transcripts anew; read the difference before you commit it.
"""
