"""Fault codes 1xx: config, devices.toml, profiles."""

from __future__ import annotations

from gateway.codes.code import Code

CONFIG_FAULT = Code(
    101,
    "The config has a fault",
    "The gateway does not start with it, exit code 78; a running gateway goes on with what it has.",
    "edge-gateway check",
    "Each fault is named with file and line, and with what was probably meant.",
)
CONFIG_DOUBTFUL = Code(
    102,
    "The config says something that is probably not meant",
    "The gateway runs; what the line is about may not do what it seems to say.",
    "edge-gateway check",
)
CONFIG_UNREAD = Code(
    103,
    "A file was changed and is not in force yet",
    "The gateway goes by the config that it read last.",
    "edge-gateway config diff",
    "It says what would change; when it is right: `edge-gateway reload`.",
)
DEVICES_FAULT = Code(
    104,
    "devices.toml has a fault",
    "The devices as they were before the edit still count; nothing is lost.",
    "edge-gateway check",
    "Mend the line that is named; the file is read when it is saved.",
)
PROFILE_FAULT = Code(
    105,
    "A device profile has a fault",
    "The profiles as they were before the edit still count; nothing is lost.",
    "edge-gateway check",
    "Mend the line that is named; the file is read when it is saved.",
)
PROFILE_WAITS = Code(
    106,
    "The serial line of a profile has changed",
    "Baud, mode, framing and polls of a port count from the next reload; the rest of the profile counts now.",
    "edge-gateway reload",
)
NO_TARGET = Code(
    107,
    "No target is configured",
    "Events are kept in the journal until its limits, and leave by no route.",
    "edge-gateway check",
    "Write a table [targets.NAME], say into gateway.d/20-cloud.toml: docs/guides/connect-a-cloud.md says how.",
)
PART_LEFT_OUT = Code(
    108,
    "A part of the config does not run",
    "The gateway has started without it, and the rest runs. Events that a route left out was to carry are kept for it.",
    "edge-gateway check",
    "Mend the line that is named, then: `sudo systemctl restart edge-gateway`.",
)
SECRET_UNUSABLE = Code(
    150,
    "A secret cannot be used",
    "The file, credential or variable that the config names is missing, empty, or the gateway's user may not read it.",
    "edge-gateway doctor credentials",
)
CERTIFICATE_UNUSABLE = Code(
    151,
    "A certificate cannot be used",
    "Its file cannot be read, holds none, or the key is not the one that belongs to it. No connection is made with it.",
    "edge-gateway doctor credentials",
)
CERTIFICATE_ENDS = Code(
    152,
    "A certificate has ended or soon will",
    "From its last moment on the other side refuses it; the files are read anew at each connection.",
    "edge-gateway doctor credentials",
    "Put a new one in its place.",
)
