"""edge-gateway: an acknowledged event is on the disk, and stays until the cloud has it."""

__version__ = "0.1.0"
