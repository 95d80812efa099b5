"""The same scenario many times."""
