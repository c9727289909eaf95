"""Tests of the Raft core, one file per module, one test per rule."""
