"""Definitions, tables and records in, outcomes out; what a rule gets to act with. No clock, no files."""
