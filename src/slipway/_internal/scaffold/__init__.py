"""Makes what a workspace is made of: new services, and a newer template."""
