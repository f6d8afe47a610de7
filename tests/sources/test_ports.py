"""Which port is which: identities, whatever name the kernel gives a tty today, and who may not open it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gateway.sources.ports import Ports, is_identity, refusal, refused_by
from tests.sources.plugs import Plug, Sockets

HOLD = """import fcntl, sys
port = open(sys.argv[1], "rb")
fcntl.flock(port, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def identities(sockets: Sockets) -> dict[str, str]:
    return {port.identity: port.path.name for port in sockets.ports.all()}


def test_the_shortest_identity_that_is_its_own(tmp_path: Path) -> None:
    """A port is named by product, by serial number where it has one, by place or interface only among twins."""
    sockets = Sockets(tmp_path)
    sockets.plug(Plug(), "ttyUSB0", "0403:6001", place="1-1", serial="A50285BI")
    sockets.plug(Plug(), "ttyUSB1", "1a86:7523", place="1-2")
    assert identities(sockets) == {"usb:0403:6001:A50285BI": "ttyUSB0", "usb:1a86:7523": "ttyUSB1"}
    sockets.plug(Plug(), "ttyUSB2", "1a86:7523", place="1-3.1")
    sockets.plug(Plug(), "ttyACM0", "10c4:8a2a", place="1-4", serial="0011", interface=0)
    sockets.plug(Plug(), "ttyACM1", "10c4:8a2a", place="1-4", serial="0011", interface=1)
    found = identities(sockets)
    assert found == {
        "usb:0403:6001:A50285BI": "ttyUSB0",
        "usb:1a86:7523@1-2": "ttyUSB1",
        "usb:1a86:7523@1-3.1": "ttyUSB2",
        "usb:10c4:8a2a:0011#0": "ttyACM0",
        "usb:10c4:8a2a:0011#1": "ttyACM1",
    }
    for identity, name in found.items():
        assert is_identity(identity)
        assert sockets.ports.resolve(identity) == sockets.ports.dev / name
    first = sockets.ports.all()[0]
    assert first.by_id is not None
    assert (first.title, first.by_id.name) == ("Example Stick", "usb-Example_Stick_0011-if00-port0")


def test_identities_are_looser_than_paths(tmp_path: Path) -> None:
    """Vendor and product are enough while there is one; capitals do not matter; a path is taken as it is."""
    sockets = Sockets(tmp_path)
    sockets.plug(Plug(), "ttyUSB7", "0403:6001", serial="A50285BI")
    assert sockets.ports.resolve("usb:0403:6001").name == "ttyUSB7"
    assert sockets.ports.resolve("usb:0403:6001@1-1").name == "ttyUSB7"
    assert sockets.ports.resolve("/dev/serial/by-id/any") == Path("/dev/serial/by-id/any")
    assert not is_identity("ttyUSB0")
    assert not is_identity("usb:403:6001")
    assert not is_identity("/dev/tty\0")
    assert not is_identity("usb:0403:6001:")


def test_what_is_not_there_says_what_is(tmp_path: Path) -> None:
    """A port that is missing, or one of several, is answered with identities to paste."""
    sockets = Sockets(tmp_path)
    with pytest.raises(LookupError, match=r"usb:1a86:7523 is not plugged in \(there is no port at all\)"):
        sockets.ports.resolve("usb:1a86:7523")
    sockets.plug(Plug(), "ttyUSB0", place="1-1")
    sockets.plug(Plug(), "ttyUSB1", place="1-2")
    with pytest.raises(
        LookupError, match=r"2 ports are usb:1a86:7523; say which: usb:1a86:7523@1-1 \(.*ttyUSB0\), usb:"
    ):
        sockets.ports.resolve("usb:1a86:7523")
    with pytest.raises(LookupError, match=r"not plugged in \(there is usb:1a86:7523@1-1, usb:1a86:7523@1-2\)"):
        sockets.ports.resolve("usb:0403:6001")


def test_only_ports_with_hardware_are_listed(tmp_path: Path) -> None:
    """A serial port of the board is one; consoles, and ports that the kernel made for nothing, are none."""
    sockets = Sockets(tmp_path)
    ttys = sockets.ports.sys / "class/tty"
    for name, kind in {"ttyS0": "4", "ttyS1": "0", "tty1": None}.items():
        (ttys / name).mkdir()
        if kind is not None:
            (ttys / name / "device").mkdir()
            (ttys / name / "type").write_text(f"{kind}\n")
    assert identities(sockets) == {str(sockets.ports.dev / "ttyS0"): "ttyS0"}


def test_who_holds_a_port(tmp_path: Path) -> None:
    """A port that is locked or open elsewhere is said with the program and its process."""
    port = tmp_path / "port"
    port.touch()
    assert Ports().holders(port) == []
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == b"held\n"
        (said,) = Ports().holders(port)
        assert said.endswith(f"(process {holder.pid})")
        holder.stdin.close()
    with port.open("rb") as mine:
        fcntl.flock(mine, fcntl.LOCK_EX)
        assert Ports().holders(port) == ["another source of this gateway"]


def test_who_may_not_open_a_port() -> None:
    """A port that this user may not open is answered with the group that may, and with what to type."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        port = Path(folder) / "port"
        port.touch()
        assert refusal(port) == ""
        port.chmod(0o060)
        if os.geteuid() == 0:  # to whom nothing is forbidden
            os.chown(port, 0, 20)
            os.seteuid(65_534)
        try:
            said = refusal(port)
        finally:
            if os.getuid() == 0:
                os.seteuid(0)
        assert "may not open it" in said
        if port.stat().st_gid:
            assert "sudo usermod -aG" in said
        assert refusal(Path(folder) / "nothing") == ""


def test_a_port_whose_mode_allows_it_is_refused_by_the_unit(tmp_path: Path) -> None:
    """Who owns a file, or is in its group, and still may not open it is told of the unit, others of the group."""
    port = tmp_path / "ttyUSB0"
    port.touch()
    port.chmod(0o660)
    os.chown(port, os.geteuid(), os.getegid())
    entry = port.stat()
    assert "systemctl restart" in refused_by(entry, os.geteuid(), set())
    assert "systemctl restart" in refused_by(entry, 54321, {entry.st_gid})
    assert "systemctl restart" not in refused_by(entry, 54321, {54322})
