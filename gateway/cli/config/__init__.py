"""The config's files: `setup` writes them, `check` finds faults, `config diff`, `reload`; `serial list`."""
