"""Requests to the machines of an app: who takes them, and how they get there."""
