"""The Machines API as a client sees it."""
