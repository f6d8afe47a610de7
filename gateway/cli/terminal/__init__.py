"""What a person sees, whatever the verb: lines, colour, tables, JSON, a bar, a view that renews itself."""
