"""The systems that are measured, one module each: three processes, durable, on loopback."""
