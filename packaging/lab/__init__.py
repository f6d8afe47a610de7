"""Throw-away machines: a Debian with its own systemd as process 1, booted in seconds."""
