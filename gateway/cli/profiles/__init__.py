"""`profiles`: what is known of kinds of devices, and what it makes of messages."""
