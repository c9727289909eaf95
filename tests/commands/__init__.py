"""The command families and their table."""
