"""What happened: `events`, `explain`, `audit`, `dead-letters`, `replay`, and where it lies: `journal`, `blobs`."""
