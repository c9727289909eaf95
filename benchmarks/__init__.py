"""Measures raftkv beside Redis, or beside another checkout of itself, on this machine."""
