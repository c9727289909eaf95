"""Histories of real clients and real nodes under faults, and whether one register per key explains them."""
