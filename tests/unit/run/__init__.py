"""Tests of the programs and services that Slipway runs and talks to."""
