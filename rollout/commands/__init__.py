"""The commands of `rollout`, one module for each matter; see rollout/cli.py.

A command parses its options, calls one function, prints, and sets the exit code. What
is heavy (HTTP, servers, rich) is imported when it is used.
"""
