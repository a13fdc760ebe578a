"""The readers of a run's events: progress, journal and report."""
