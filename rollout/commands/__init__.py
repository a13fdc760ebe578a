"""The commands of `rollout`, one module for each matter; see rollout/cli.py.

A module imports nothing but click and the error tree until its command runs.
"""
