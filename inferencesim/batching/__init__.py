"""How a replica forms its batches, and in which order requests wait."""
