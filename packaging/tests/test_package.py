"""The packages themselves: the same bytes each time, for both architectures, without a finding of lintian."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from conftest import NEWER, Packages, built


@pytest.mark.parametrize("target", ["amd64", "arm64"])
def test_the_same_bytes_again(target: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Built twice, in other folders, a package is the same to the byte."""
    commit = request.config.getoption("--commit")
    sums = set()
    for name in ("one", "another"):
        (tmp_path / name).mkdir()
        sums.add(hashlib.sha256(built(tmp_path / name, NEWER, commit, target).read_bytes()).hexdigest())
    assert len(sums) == 1


def test_lintian_finds_nothing(packages: Packages) -> None:
    """Lintian is silent: what it would say and is as it should be stands with its reason in the overrides."""
    command = ["lintian", "--allow-root", "--fail-on", "error,warning", str(packages.newer)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_manual_pages_are_read_without_a_warning(packages: Packages, tmp_path: Path) -> None:
    """Groff has nothing to say about the man pages."""
    subprocess.run(["dpkg-deb", "-x", str(packages.newer), str(tmp_path)], check=True)
    for page in (tmp_path / "usr/share/man").rglob("*.gz"):
        command = f"zcat {page} | groff -man -Tutf8 -ww -rLL=120n 2>&1 >/dev/null"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
        assert done.stdout == "", done.stdout[:2000]


ADAPTER = r"""P: /devices/usb1/1-1
E: DEVTYPE=usb_device
E: SUBSYSTEM=usb
A: idVendor=0403\n
A: idProduct=6001\n
A: serial=A50285BI\n
A: product=FT232R\n

P: /devices/usb1/1-1/1-1:1.0
E: DEVTYPE=usb_interface
E: SUBSYSTEM=usb
A: bInterfaceNumber=00\n
A: bInterfaceClass=ff\n
A: bInterfaceSubClass=ff\n
A: bInterfaceProtocol=ff\n
L: driver=../../../bus/usb/drivers/ftdi_sio

P: /devices/usb1/1-1/1-1:1.0/ttyUSB0
E: SUBSYSTEM=usb-serial

P: /devices/usb1/1-1/1-1:1.0/ttyUSB0/tty/ttyUSB0
N: ttyUSB0
E: DEVNAME=/dev/ttyUSB0
E: SUBSYSTEM=tty
E: MAJOR=188
E: MINOR=0

"""


def test_an_adapter_gets_its_name(packages: Packages, tmp_path: Path) -> None:
    """Udev gives an adapter the name that the configuration uses and keeps ModemManager from it, not from modems."""
    subprocess.run(["dpkg-deb", "-x", str(packages.newer), str(tmp_path / "tree")], check=True)
    (rules,) = (tmp_path / "tree").rglob("61-edge-gateway.rules")
    port = "/sys/devices/usb1/1-1/1-1:1.0/ttyUSB0/tty/ttyUSB0"

    def properties(adapter: str) -> str:
        (tmp_path / "adapter").write_text(adapter)
        asked = f"umockdev-run -d {tmp_path}/adapter -- udevadm test --action=add {port}"
        script = f"mount -t tmpfs tmpfs /run && mkdir -p /run/udev/rules.d && cp {rules} /run/udev/rules.d/ && {asked}"
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    said = properties(ADAPTER)
    assert "/dev/serial/usb/0403:6001:A50285BI" in said, said
    assert "ID_MM_PORT_IGNORE=1" in said
    assert "/dev/serial/usb/" not in properties(ADAPTER.replace("InterfaceNumber=00", "InterfaceNumber=01"))
    assert "ID_MM_PORT_IGNORE" not in properties(ADAPTER.replace("idVendor=0403", "idVendor=12d1"))
