"""Brings a container up, waits until it can take over, switches the gateway, drains the old one."""
