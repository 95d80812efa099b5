"""Traces of whole tasks: their calls and tools, and what had to be done before each."""
