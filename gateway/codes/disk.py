"""Fault codes 4xx: disk, journal, dead letters."""

from __future__ import annotations

from gateway.codes.code import Code

DISK_REFUSES = Code(
    401,
    "The disk refuses writes",
    "Nothing is acknowledged, so that senders keep it; alarms have a reserve. It goes on by itself with the first "
    "write that succeeds.",
    "df -h /var/lib/edge-gateway; dmesg | tail",
)
JOURNAL_FULL = Code(
    402,
    "The journal is at its byte limit",
    "What is oldest and least makes way, as the lanes' policies say, and is counted.",
    "edge-gateway journal stat",
)
RECORDS_DAMAGED = Code(
    403,
    "Records of the journal are damaged",
    "They are set aside in the quarantine folder and passed over; all others are read.",
    "edge-gateway journal verify",
    "Once is a power cut in a bad moment; again means: think of the card, make a backup.",
)
BLOCKS_MENDED = Code(
    404,
    "The card did not keep what it had acknowledged",
    "The blocks were still in memory and were written again: nothing is lost this time.",
    "edge-gateway backup FILE",
    "Replace the card.",
)
NOT_AS_WRITTEN = Code(
    405,
    "The card did not keep what it had acknowledged, and memory had it no more",
    "The records are lost or damaged; they are counted and set aside.",
    "edge-gateway journal verify",
    "Replace the card: `edge-gateway backup FILE`, then `edge-gateway restore FILE` on the new one.",
)
NO_SEGMENT = Code(
    406,
    "The next file of the journal cannot be prepared",
    "The ones that are there are used; it is tried again.",
    "df -h /var/lib/edge-gateway",
)
HISTORY_OFF = Code(
    407,
    "The history index is not kept",
    "Questions about the past read the journal itself: slower, and right.",
    "edge-gateway journal stat",
)
JOURNAL_NEWER = Code(
    408,
    "A newer version wrote the journal",
    "The gateway does not start and touches nothing, exit code 78.",
    "edge-gateway --version",
    "Install that version again, or restore a backup that this one made.",
)
JOURNAL_UNUSABLE = Code(
    409,
    "The journal cannot be opened",
    "The gateway does not start: the folder cannot be read or written, or another gateway has it.",
    "edge-gateway journal stat",
)
DEAD_LETTERS = Code(
    410,
    "There are dead letters to look at",
    "Messages or events that nobody can use as they are; they are kept until they are tried again or dropped.",
    "edge-gateway dead-letters list",
)
NOT_IN_THE_JOURNAL = Code(
    411,
    "Something happened that the journal did not take",
    "What is said in the line is in effect, and there is no record of it; after a restart it may be forgotten.",
    "edge-gateway status",
)
STATE_IS_FORGOTTEN = Code(
    450,
    "The state is on a file system that does not keep it",
    "What was acknowledged is gone after a power cut or a restart: the promise does not hold there.",
    "edge-gateway doctor disk",
    "Let `state` of [gateway] name a folder on ext4, xfs, btrfs or f2fs with its default options.",
)
ROOM_IS_SHORT = Code(
    451,
    "The disk has less room than the journal may take",
    "In a long outage the disk is full before the journal's limits hold; then nothing more is acknowledged.",
    "df -h /var/lib/edge-gateway",
    "Make room, or lower bytes_max of [journal].",
)
CARD_IS_WORN = Code(
    452,
    "The card is worn",
    "It says itself that it has been written to for most of its life.",
    "edge-gateway backup FILE",
    "Replace the card: `edge-gateway restore FILE` on the new one.",
)
DISK_IS_SLOW = Code(
    453,
    "The disk is slow to keep what it is given",
    "An acknowledgement waits for the disk; so does an alarm on its way out.",
    "edge-gateway doctor disk",
)
