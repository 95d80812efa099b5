"""The cheapest fleet that keeps its promises, and the highest load that a fleet carries."""
