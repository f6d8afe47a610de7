"""What people and the house tell each other: `mode`, `input`, `alerts`, `notify`, `notifications`."""
