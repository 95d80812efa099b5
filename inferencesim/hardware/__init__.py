"""Chips: their datasheet numbers, each with its source and how far it can be trusted."""
