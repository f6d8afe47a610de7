"""The gateway as verbs reach it: over the socket of one that runs, else read-only on its disk."""
