"""What the recorders' names are in ours: each module has `DIALECTS`, dialect -> a function of the record."""
