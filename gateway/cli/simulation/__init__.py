"""Without hardware: `demo`, `simulate`, `verify`."""
