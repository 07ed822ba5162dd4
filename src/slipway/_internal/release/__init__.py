"""Deploys, rolls back and promotes stacks, switches their mode, and shows what runs."""
