"""From rule files on the disk to what runs: read once, checked, tried, kept in versions."""
