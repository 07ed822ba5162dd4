"""What every capability works with: the run context, the reporter, logs, locks, parallel work."""
