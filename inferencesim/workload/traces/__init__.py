"""Traces of real load: one record, and a reader for each published format."""
