"""What a run leaves behind: the summary, the run folder, the difference between two."""
