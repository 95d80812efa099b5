"""Reading, validating and freezing what a user describes."""
