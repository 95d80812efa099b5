"""The load: who asks, when, how much, from named random streams or from traces."""
