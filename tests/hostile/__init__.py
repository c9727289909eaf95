"""What strangers, broken clients and broken peers do to a real cluster: lose their own connections."""
