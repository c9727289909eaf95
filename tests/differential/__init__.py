"""raftkv beside a real redis-server: the same requests, reply by reply (README, "Development")."""
