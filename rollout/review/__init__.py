"""What a change of flags.yaml does to units."""
