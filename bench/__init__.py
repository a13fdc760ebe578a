"""Measures tidegate beside everything that does the same work; run by scripts/bench."""
