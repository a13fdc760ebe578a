"""Flags over OFREP, and exported to other tools."""
