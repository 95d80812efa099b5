"""Routing on two levels: placement over pools, balancing inside a pool."""
