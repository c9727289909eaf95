"""The Redis serialisation protocol, 2 and 3: bytes to requests, reply values to bytes, in order.

Knows nothing of sockets, of commands or of Raft.
"""
