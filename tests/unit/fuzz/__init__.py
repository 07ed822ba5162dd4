"""Every reader against what no file should hold."""
