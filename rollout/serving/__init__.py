"""Flags for programs in other languages: over HTTP (OFREP), and as flagd's definitions.

Decides nothing, and does not know how the flags are kept.
"""
