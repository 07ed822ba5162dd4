"""Tests of the pure builders."""
