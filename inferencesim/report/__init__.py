"""What a person looks at: tables for the terminal, plots for a page."""
