"""The records that the summary of a run is made of: frozen, and JSON can hold them."""
