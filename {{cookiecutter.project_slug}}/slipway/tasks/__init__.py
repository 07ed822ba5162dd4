"""Invoke tasks; sentences over flows."""
