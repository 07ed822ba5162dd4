"""The service's code."""

VERSION = "1.0.0"
