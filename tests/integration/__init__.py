"""Real processes, real sockets, real disks, and `kill -9`."""
