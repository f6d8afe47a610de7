"""What is built in, and under which licence: the bill of materials, the list of licences, the known holes."""
