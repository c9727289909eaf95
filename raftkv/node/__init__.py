"""The processes around the pure layers: event loop, listeners, the Raft groups that a node hosts."""
