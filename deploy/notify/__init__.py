"""Telling others of a run: webhooks, hooks, GitHub, traces and metrics. Readers of events."""
