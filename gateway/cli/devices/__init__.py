"""`devices`, `send`, `import`: what is installed, what it is called, and a command to it."""
