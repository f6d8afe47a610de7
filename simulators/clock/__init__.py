"""A gateway whose machine has no clock chip: the wall clock is bent while it runs, and everything is judged."""
