"""The command line; heavy imports stand inside the commands, so that help is instant."""
