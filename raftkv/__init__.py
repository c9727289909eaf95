"""raftkv: a durable, linearizable key-value store behind Redis's protocol."""

__version__ = "0.1.0"
