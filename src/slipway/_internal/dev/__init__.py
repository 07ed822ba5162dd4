"""`invoke dev`: watches, builds or copies what a save changes, and swaps it in behind the gateway."""
