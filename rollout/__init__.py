"""Decide, for a unit, what a flag is worth; see ARCHITECTURE.md."""
