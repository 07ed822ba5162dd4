"""What this workspace's Python services share. Builds get it as the named context `common`."""
