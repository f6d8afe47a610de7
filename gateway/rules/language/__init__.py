"""What a rule file says: decorators, times and windows, the house it speaks of. Data, and its faults."""
