"""How the gateway logs, as the config says."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["debug", "info", "warning", "error"]
Form = Literal["auto", "text", "json"]


class LogOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log. `edge-gateway run --log debug,json` and EDGE_GATEWAY_LOG say otherwise for one start."""

    level: Level = "info"  # debug: also what becomes of every single event
    form: Form = "auto"  # auto: fields of the journal under systemd, else text; json: one object a line
