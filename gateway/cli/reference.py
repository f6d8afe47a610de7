"""The reference pages, made from option types, parser, fault codes, rules: ``python -m gateway.cli.reference FOLDER``.

What an option is for is the comment on its line in the source, so that there is one place to write it.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import inspect as shape

from gateway.cli.comments import comments
from gateway.config.effective import plain, toml

CONFIG_HEAD = """# gateway.toml

Made from the option types by `python -m gateway.cli.reference docs/reference`; a test fails when it is stale.
`edge-gateway check --effective` prints every value in force and where it was set.

A number whose name ends in a unit may be a text with a unit: `max_delay_ms = "20ms"`, `bytes_max = "1GB"`,
`session_expiry_s = "7d"`. Paths are relative to the folder of gateway.toml. A secret is a table that says where it
is: `{ file = "…" }`, `{ credential = "…" }` (systemd's LoadCredential=) or `{ env = "…" }`; a literal one is refused.
Files in `gateway.d/*.toml` beside it are merged over it in the order of their names; `${name}` in a text is the key
`name` of the table `[variables]`.

"""
SOURCES = {  # what tells a kind of source from the others, when it is not its name
    "mqtt": 'short: `sources.NAME = "mqtt://localhost"`',
    "listener": "with `listen`",
    "bus": "with `serial` and `unit`",
}
LISTEN = ['| `listen` | text | required | "127.0.0.1:1883"; "0.0.0.0:1883" or "[::]:1883" for every interface |']
CLI_HEAD = """# The command line

Made from the parser by `python -m gateway.cli.reference docs/reference`; a test fails when it is stale.

Exit codes: 0 ok, 1 the thing asked about is bad, 2 usage, 78 configuration, 130 interrupted. Faults are written as
`file:line: what is wrong (what was probably meant)`. Colour only on a terminal, and not with `NO_COLOR`.
`EDGE_GATEWAY_CONFIG` names another config than /etc/edge-gateway/gateway.toml.

"""


def tables() -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """Yield (table as it stands in gateway.toml, its options type)."""
    from gateway.blobs.store import BlobOptions
    from gateway.commands.web_services import WebServiceOptions
    from gateway.config.options import KINDS, ApiOptions, GatewayOptions, journal_table, options_of
    from gateway.history.keeper import HistoryOptions
    from gateway.logs.options import LogOptions
    from gateway.notify.options import RecipientOptions
    from gateway.offers.options import OfferOptions
    from gateway.routes import Route
    from gateway.rules.language.inputs import InputOptions
    from gateway.rules.options import RuleOptions

    yield "[gateway]", GatewayOptions
    yield "[api]", ApiOptions
    yield "[journal]", journal_table()
    yield "[history]", HistoryOptions
    yield "[blobs]", BlobOptions
    for kind in KINDS["sources"]:
        yield f"[sources.NAME] ({SOURCES.get(kind, f'with `{kind}`')})", options_of("sources", kind)
    for kind in KINDS["targets"]:
        yield f'[targets.NAME] with type = "{kind}"', options_of("targets", kind)
    yield "[routes.NAME]", Route
    yield "[rules]", RuleOptions
    yield '[notify.NAME] (groups: `[notify]` with `NAME = ["anna", "ben"]`)', RecipientOptions
    yield "[inputs.NAME]", InputOptions
    yield "[http.NAME]", WebServiceOptions
    yield "[offers]", OfferOptions
    yield "[log]", LogOptions


def config_page() -> str:
    """Write docs/reference/config.md."""
    parts = [CONFIG_HEAD]
    nested: dict[str, type[msgspec.Struct]] = {}
    for title, kind in tables():
        parts.append(_section(title, kind, nested))
    for name, kind in list(nested.items()):
        parts.append(_section(name, kind, nested))
    return "".join(parts).rstrip() + "\n"


def _section(title: str, kind: type[msgspec.Struct], nested: dict[str, type[msgspec.Struct]]) -> str:
    lines = [f"## {title}", "", _summary(kind), "", "| key | type | default | |", "|---|---|---|---|"]
    about = comments(kind)
    for field in msgspec.structs.fields(kind):
        if kind.__name__ == "ListenerOptions" and field.name in ("host", "port"):
            lines += LISTEN if field.name == "host" else []
            continue
        words = _type(_inspected(kind, field.encode_name), nested)
        text = about.get(field.name) or _described(field.type)
        lines.append(f"| `{field.encode_name}` | {words} | {_default(field)} | {text} |")
    return "\n".join(lines) + "\n\n"


def _summary(kind: type) -> str:
    """Return the first paragraph of a type's docstring, or of the type it was made of."""
    documented = next(owner for owner in kind.__mro__ if owner.__doc__)
    return inspect.cleandoc(documented.__doc__ or "").partition("\n\n")[0].replace("\n", " ").replace("``", "`")


def _described(annotation: Any) -> str:
    """Return the description in an annotation, for a field that is made at run time and has no line."""
    return next((meta.description for meta in get_args(annotation) if isinstance(meta, msgspec.Meta)), None) or ""


def _inspected(kind: type[msgspec.Struct], name: str) -> shape.Type:
    struct = shape.type_info(kind)
    assert isinstance(struct, shape.StructType)
    return next(field.type for field in struct.fields if field.encode_name == name)


def _type(kind: shape.Type, nested: dict[str, type[msgspec.Struct]]) -> str:
    """Say a type in the words of TOML."""
    if isinstance(kind, shape.Metadata):
        return _type(kind.type, nested)
    if isinstance(kind, shape.UnionType):
        return " or ".join(_type(member, nested) for member in kind.types if not isinstance(member, shape.NoneType))
    if isinstance(kind, shape.LiteralType):
        return ", ".join(f"`{toml(value)}`" for value in kind.values)
    if isinstance(kind, (shape.ListType, shape.VarTupleType)):
        return f"list of {_type(kind.item_type, nested)}"
    if isinstance(kind, shape.DictType):
        return f"table of {_type(kind.value_type, nested)}"
    if isinstance(kind, shape.StructType):
        nested.setdefault(f"Table {kind.cls.__name__}", kind.cls)
        return f"table {kind.cls.__name__}"
    if isinstance(kind, shape.CustomType):
        return kind.cls.__name__.lower()
    return {
        shape.IntType: "whole number",
        shape.FloatType: "number",
        shape.StrType: "text",
        shape.BoolType: "true, false",
    }.get(type(kind), "any")


def _default(field: Any) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value is None or value == "" or isinstance(value, msgspec.Struct):
        return ""
    if "bytes" in field.name and isinstance(value, int) and value % 2**20 == 0:
        return f'`"{value // 2**20}MiB"`'
    return f"`{toml(plain(value))}`"


def cli_page() -> str:
    """Write docs/reference/cli.md."""
    from gateway.cli.main import parser

    parts = [CLI_HEAD]
    for path, words in verbs(parser()):
        parts.append(f"## {path}\n\n{words.description or ''}\n\n```\n{usage(words)}\n```\n\n")
    return "".join(parts).rstrip() + "\n"


def verbs(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield (words, parser) of every verb that does something."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield parser.prog, parser
    for action in inner:
        for words in action.choices.values():
            yield from verbs(words)


def usage(parser: argparse.ArgumentParser) -> str:
    """Write usage, options and examples, the same whatever the terminal or Python version."""
    lines = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        value = action.metavar or (
            f"{{{','.join(map(str, action.choices))}}}" if action.choices else action.dest.upper()
        )
        takes_value = action.nargs != 0
        if action.option_strings:
            name = ", ".join(action.option_strings) + (f" {value}" if takes_value else "")
        else:
            name = f"[{action.dest}]" if action.nargs in ("?", "*") else action.dest
        lines.append((name, action.help or (value if action.choices else "")))
    width = max((len(name) for name, _ in lines), default=0)
    body = "\n".join(f"  {name:<{width}}  {text}".rstrip() for name, text in lines)
    return f"{parser.prog}\n{body}\n\n{parser.epilog or ''}".rstrip()


def main() -> None:
    """Write the pages into a folder."""
    from gateway.cli.health.faults import CATALOG, catalog, faults_page
    from gateway.cli.profiles.schema import profile_schema
    from gateway.cli.rules.pages import rules_page

    folder = Path(sys.argv[1])
    if (units := folder.absolute().parents[1] / CATALOG).parent.is_dir():  # what packages install, beside the pages
        units.write_text(catalog())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.md").write_text(config_page())
    (folder / "cli.md").write_text(cli_page())
    (folder / "rules.md").write_text(rules_page())
    (folder / "faults.md").write_text(faults_page())
    (folder / "profile.schema.json").write_text(profile_schema())


if __name__ == "__main__":
    main()
