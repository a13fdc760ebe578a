"""The bundled platform: the Machines API over real operating-system processes."""
