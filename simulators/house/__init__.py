"""A house from a scenario file: rooms, people and devices that speak the dialects of the field, and faults.

Nothing here decodes or encodes with the gateway's code, so the two can disagree.  `gateway.document` reads the TOML.
"""
