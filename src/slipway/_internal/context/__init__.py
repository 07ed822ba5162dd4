"""Shared by all capabilities: the run context, the reporter, logs, locks, parallel work."""
