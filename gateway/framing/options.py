"""Every type of framing there is. A new one is one file in this folder and two words here."""

from __future__ import annotations

from typing import Final, get_args

from gateway.framing.cobs import Cobs
from gateway.framing.delimiter import Delimiter
from gateway.framing.esp3 import Esp3
from gateway.framing.fixed import Fixed
from gateway.framing.framer import Framer, FramingOptions
from gateway.framing.gap import Gap
from gateway.framing.length import Length
from gateway.framing.line import Line
from gateway.framing.modbus_rtu import ModbusRtu
from gateway.framing.slip import Slip
from gateway.framing.start_end import StartEnd
from gateway.framing.telegram import Telegram
from gateway.framing.teleinfo import Teleinfo
from gateway.framing.ve_direct import VeDirect

Framing = (
    Line | Delimiter | StartEnd | Length | Fixed | Slip | Cobs | Esp3 | ModbusRtu | Telegram | Teleinfo | VeDirect | Gap
)
"""What ``[link] framing = { type = "...", ... }`` may be: `type` chooses, the other keys are that type's."""

FRAMINGS: Final[tuple[type[FramingOptions], ...]] = get_args(Framing)


def framer_of(options: Framing) -> Framer:
    """Return a new framer for one line."""
    return options.framer()
