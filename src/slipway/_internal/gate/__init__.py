"""The gate: nothing is released that was not tested, scanned, described, signed and verified."""
