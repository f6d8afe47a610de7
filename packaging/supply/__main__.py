"""``./dev licences``: write the bill of materials and the page of licences; 1 when a licence is not allowed."""

from __future__ import annotations

import sys

from supply.bom import BOM, PAGE, bill, licences, not_allowed
from supply.locked import libraries


def main() -> int:
    """Write both."""
    BOM.write_text(bill(), encoding="utf-8")
    PAGE.write_text(licences(), encoding="utf-8")
    bad = not_allowed(libraries())
    for line in bad:
        print(f"not allowed: {line}; see ALLOWED in packaging/supply/locked.py", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
