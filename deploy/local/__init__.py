"""The embedded platform: the Machines API over real operating-system processes."""
