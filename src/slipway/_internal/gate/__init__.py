"""The gate: only images that were tested, scanned, described, signed and verified are released."""
