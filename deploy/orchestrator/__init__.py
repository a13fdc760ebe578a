"""Carrying a plan out: looking, leasing, writing, waiting."""
