"""Tests of what counts as an image's content."""
