"""What a rule worker cannot do: Landlock, seccomp, the audit hook, and how that is found out."""
