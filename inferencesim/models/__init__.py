"""Models: their architecture, and what follows from it in parameters, FLOPs and cache elements."""
