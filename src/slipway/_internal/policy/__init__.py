"""What the rules of a workspace's policy pack are made of."""
