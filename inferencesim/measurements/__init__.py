"""Measurements of real serving systems: what was run, under which load, and what came out."""
