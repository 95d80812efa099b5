"""What can be said of a quantity that was seen a few times, or for a while."""
