"""Copyright, licences of what is bundled, and the change log in Debian's formats."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from deb.libraries import BuildError, distributions, files_of
from supply.locked import libraries

MAINTAINER = "edge-gateway maintainers <maintainers@edge-gateway.example>"
LICENCE_FILE = re.compile(r"(?i)(^|/)(licen[cs]e|copying|notice|edl)[^/]*$")
IN_DEBIAN = {"Apache-2.0": "Apache-2.0", "MPL-2.0": "MPL-2.0"}  # whose text every Debian has
HOLDER = re.compile(r"(?im)^\W*((?:copyright|\(c\)).*\d{4}.*)$")
BSD_3 = """Redistribution and use in source and binary forms, with or without modification, are permitted provided that
the following conditions are met: (1) redistributions of source code retain the copyright notice, this list of
conditions and the disclaimer below; (2) redistributions in binary form reproduce them in the documentation or other
materials provided with the distribution; (3) neither the name of the copyright holder nor the names of its contributors
are used to endorse or promote products derived from this software without specific prior written permission.

THIS SOFTWARE IS PROVIDED "AS IS", WITHOUT ANY EXPRESS OR IMPLIED WARRANTIES, AND NO COPYRIGHT HOLDER OR CONTRIBUTOR IS
LIABLE FOR ANY DAMAGES ARISING IN ANY WAY OUT OF ITS USE."""


def copyright_file(folders: Sequence[Path]) -> str:
    """Write debian/copyright: ours, then each bundled library with the licence text that its wheel carries."""
    known = {library.name: library for library in libraries()}
    parts = [
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: edge-gateway\n",
        "Files: *\nCopyright: the edge-gateway authors\nLicense: Apache-2.0\n",
    ]
    texts: dict[str, str] = {}
    for folder in folders:
        for info, headers in distributions(folder):
            library = known[headers["Name"].lower()]
            files = files_of(info)
            tops = sorted({name.parts[0] for name in files if not name.parts[0].endswith((".dist-info", ".libs"))})
            where = "\n".join(f" usr/lib/edge-gateway/*/{top}{'/*' if (folder / top).is_dir() else ''}" for top in tops)
            found = [folder / name for name in files if name.parts[0] == info.name and LICENCE_FILE.search(str(name))]
            text = "\n\n".join(path.read_text(encoding="utf-8") for path in found if _own_words(path))
            label = f"{library.name}-licence"
            texts[label] = f"({library.licence})\n\n{text or _words_in_debian(library.licence)}"
            holder = next(iter(HOLDER.findall(text)), f"{library.author or library.name + ' authors'}")
            parts.append(f"Files:\n{where}\nCopyright: {' '.join(holder.split())}\nLicense: {label}\n")
    parts.append(f"License: Apache-2.0\n{indented(_place_in_debian('Apache-2.0'))}\n")
    parts += [f"License: {label}\n{indented(text)}\n" for label, text in texts.items()]
    return "\n".join(parts)


def _own_words(path: Path) -> bool:
    """Return whether a licence file is one that not every Debian has already."""
    text = path.read_text(encoding="utf-8")
    return not re.search(r"Apache License\s+Version 2.0|Mozilla Public License Version 2.0", text)


def _words_in_debian(expression: str) -> str:
    if expression == "BSD-3-Clause":
        return BSD_3
    if expression not in IN_DEBIAN:
        raise BuildError(
            f"a library under {expression} carries no text of it; write it down in packaging/deb/notices.py"
        )
    return _place_in_debian(expression)


def _place_in_debian(expression: str) -> str:
    return f"On Debian systems its text is in /usr/share/common-licenses/{IN_DEBIAN[expression]}."


def indented(text: str) -> str:
    """Write a text as the body of a field: one space before each line, a dot for an empty one."""
    lines = []
    for line in text.strip().splitlines():
        lines += textwrap.wrap(line, 118, break_long_words=False) or [""]
    return "\n".join(f" {line}" if line.strip() else " ." for line in lines)


def changelog(name: str, version: str, epoch: int) -> str:
    """Write Debian's change log: one entry that leads to ours."""
    when = format_datetime(datetime.fromtimestamp(epoch, UTC))
    return (
        f"{name} ({version}) stable; urgency=medium\n\n  * What changed: /usr/share/doc/{name}/NEWS.md.gz.\n\n"
        f" -- {MAINTAINER}  {when}\n"
    )
