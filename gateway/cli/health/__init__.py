"""How the gateway is: `status`, `doctor`, fault codes, and `support` for somebody else."""
