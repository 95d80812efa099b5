"""A naive twin of the fleet, and small scenarios to compare the two on."""
