"""The Pulumi project: what runs, and from which images."""
