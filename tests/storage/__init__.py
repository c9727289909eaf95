"""Storage: the log, the rows, the data directory."""
