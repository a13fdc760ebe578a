"""flags.yaml: reading it, checking it, changing one number in it."""
