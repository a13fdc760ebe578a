"""Where flags are kept: a path, git, https."""
