"""Man pages and completion, made from the program's own parser and option types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from gateway.cli import completion as shells
from gateway.cli.main import parser
from gateway.cli.reference import config_page, usage, verbs

FILES = """\
/etc/edge-gateway/gateway.toml|what is configured; see edge-gateway.toml(5)
/etc/edge-gateway/gateway.d/*.toml|merged over it, in the order of their names
/etc/edge-gateway/devices.toml|names, rooms and kinds of the installed devices
/etc/edge-gateway/rules/|rules, live when they are saved
/etc/edge-gateway/profiles/|device profiles beside those that are shipped
/etc/edge-gateway/credentials/|secrets that only root reads; the service gets them from systemd
/var/lib/edge-gateway/|the journal and all state
/run/edge-gateway/api.sock|where the verbs ask the service; for root and the group edge-gateway
/usr/share/doc/edge-gateway/|guides and reference"""
EXIT = """\
0|ok
1|the thing asked about is bad
2|usage
78|configuration, or a journal that a newer version wrote: the service is not started again
130|interrupted"""


def program(version: str, epoch: int) -> str:
    """Write edge-gateway(1): every verb with its options and examples."""
    top = parser()
    lines = [_head("EDGE-GATEWAY", 1, version, epoch), ".SH NAME", r"edge\-gateway \- IoT edge gateway", ".SH SYNOPSIS"]
    lines += [r".B edge\-gateway", r".I VERB", ".RI [ ARGUMENTS ]", ".SH DESCRIPTION", roff(top.description or "")]
    lines += [".PP", "It runs as the service edge\\-gateway: see", r".B systemctl status edge\-gateway .", ".SH VERBS"]
    for path, words in verbs(top):
        lines += [f".SS {roff(path.removeprefix('edge-gateway '))}", roff(words.description or "")]
        body = usage(words).splitlines()[1:]
        lines += [".PP", ".nf", *(roff(line) for line in body), ".fi"]
    lines += [".SH EXIT STATUS", *_terms(EXIT), ".SH FILES", *_terms(FILES), ".SH ENVIRONMENT"]
    lines += _terms("EDGE_GATEWAY_CONFIG|another config than /etc/edge-gateway/gateway.toml\nNO_COLOR|no colour")
    lines += [".SH SEE ALSO", r".BR edge\-gateway.toml (5),", ".BR systemctl (1),", ".BR journalctl (1)"]
    return "\n".join(lines) + "\n"


def config(version: str, epoch: int) -> str:
    """Write edge-gateway.toml(5): the reference of options, page for page."""
    lines = [_head("EDGE-GATEWAY.TOML", 5, version, epoch), ".SH NAME"]
    lines += [r"edge\-gateway.toml \- configuration of edge\-gateway", ".SH SYNOPSIS"]
    lines += [".I /etc/edge\\-gateway/gateway.toml", ".SH DESCRIPTION"]
    for line in config_page().splitlines()[1:]:
        if not line.startswith("Made from "):  # which is for who works on it
            lines += _markdown(line)
    lines += [".SH SEE ALSO", r".BR edge\-gateway (1)"]
    return "\n".join(lines) + "\n"


def completion(shell: str) -> str:
    """Write a shell's completion script."""
    script: str = getattr(shells, shell)(parser())
    return script + "\n"


def _markdown(line: str) -> Iterator[str]:
    if line.startswith("## "):
        yield f".SH {roff(line[3:].replace('`', ''))}"
    elif line.startswith(("|---", "| key |")):
        return
    elif line.startswith("| "):
        name, kind, default, about = re.split(
            r"(?<!\\) \| ", line.strip().removeprefix("| ").removesuffix("|") + " ", maxsplit=3
        )
        yield from (".TP", rf"\fB{roff(name.strip('` '))}\fR ({roff(kind.replace('`', ''))})")
        told = about.strip().replace("\\|", "|").replace("`", "")
        default = default.strip().replace("`", "")
        yield roff(f"{told}{'; ' if told and default else ''}{_default(default)}") or r"\&"
    elif line.strip():
        yield roff(line.replace("`", ""))
    else:
        yield ".PP"


def _default(text: str) -> str:
    return {"": "", "required": "required"}.get(text, f"default: {text}")


def _head(title: str, section: int, version: str, epoch: int) -> str:
    when = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d")
    return f'.TH {title} {section} "{when}" "edge-gateway {version}"\n.nh'


def _terms(table: str) -> Iterator[str]:
    for line in table.splitlines():
        term, _, text = line.partition("|")
        yield from (".TP", rf"\fB{roff(term)}\fR", roff(text))


def roff(text: str) -> str:
    """Escape what troff reads as its own."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...").replace("'", r"\(aq").replace("`", r"\(ga")
    return rf"\&{text}" if text.startswith((".", "'")) else text
