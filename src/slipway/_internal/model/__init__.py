"""What the workspace's files say: read, checked, frozen."""
