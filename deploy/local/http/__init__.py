"""The Machines API over HTTP, and serving it."""
