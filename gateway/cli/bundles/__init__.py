"""Configurations that travel: `bundle make`, `apply`, and what `check` and `config diff` say of them."""
