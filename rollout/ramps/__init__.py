"""A percentage that follows a schedule."""
