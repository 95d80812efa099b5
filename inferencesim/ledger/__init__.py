"""What happened, in tables: every request, every decision, every joule and dollar."""
