"""Rules on the desk of a person: tests, backtests, shadows, debugging, and why a rule did what it did."""
