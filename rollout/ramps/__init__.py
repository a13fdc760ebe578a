"""Percentages that rise by the clock: their steps, opening hours, and how they look.

The time is an argument. Knows no files, and of flags only what they are.
"""
