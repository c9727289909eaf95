"""The state machine over rows: keyspace, batches, expiry, undo."""
