"""Deploy a fleet of machines over the Machines API; see ARCHITECTURE.md."""
