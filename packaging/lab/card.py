"""A card for a small arm64 computer: Debian's own kernel, systemd and Python, with the package already installed.

Made once a suite and cached (minutes: its second half runs arm64 programs by emulation); `written` puts a package onto
it, as somebody prepares cards on a bench. The kernel is only unpacked: its own set-up would take longer than all the
rest under emulation, so the first program that runs on the board is made here, too.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.roots import LabError, cache, need, sources

CARD_BYTES = 2 * 1024**3
LIMIT_S = 3600.0
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "udev", "kmod", "init-system-helpers", "python3", "tzdata", "ca-certificates"),
    *("iproute2", "procps", "mosquitto", "mosquitto-clients"),
)
NEEDED_BY_BOOT = ("virtio_pci", "virtio_blk", "ext4")
NOT_ON_THIS_BOARD = (
    *("sound", "drivers/gpu", "drivers/media", "drivers/infiniband", "drivers/staging", "drivers/scsi"),
    *("drivers/net/wireless", "drivers/net/ethernet", "drivers/mtd", "drivers/iio", "drivers/bluetooth"),
)
EMULATOR = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
KNOWN = Path("/proc/sys/fs/binfmt_misc")

FIRST = """#!/bin/busybox sh
export PATH=/bin
busybox mkdir -p /proc /dev /card
busybox mount -t proc none /proc
busybox mount -t devtmpfs none /dev
for module in /modules/*; do busybox insmod $module; done
until busybox mount -t ext4 -o rw /dev/vda /card; do busybox sleep 0.1; done
busybox mount --move /dev /card/dev
busybox umount /proc
exec busybox switch_root /card /sbin/init
"""
CONSOLE = f"""[Unit]
Description=A shell for whoever holds the other end of the board's console
After=multi-user.target
[Service]
ExecStart=/bin/bash --noprofile --norc
Environment=TERM=dumb PS1= HOME={pwd.getpwuid(0).pw_dir} LANG=C.UTF-8
StandardInput=tty
StandardOutput=tty
TTYPath=/dev/hvc0
Restart=always
[Install]
WantedBy=multi-user.target
"""
NETWORK = "[Match]\nName=en*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"  # qemu's user network
SILENT = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer", "dpkg-db-backup.timer"),
    *("systemd-networkd-wait-online.service", "getty@tty1.service", "serial-getty@ttyAMA0.service"),
    *("serial-getty@hvc0.service", "mosquitto.service"),
)


@dataclass(frozen=True)
class Card:
    """What a board boots from: a kernel, its first file system, and the card itself, which is never written to."""

    kernel: Path
    first: Path
    image: Path


def written(suite: str, package: Path, files: dict[str, str]) -> Card:
    """Return a card of a suite with a package installed and `files` (path: text) put over it."""
    made = made_for(suite)
    digest = hashlib.sha256(package.read_bytes() + repr(sorted(files.items())).encode()).hexdigest()[:12]
    image = made / f"card-{digest}.img"
    if not image.exists():
        _write(made, package, files, image)
    return Card(made / "kernel", made / "first.gz", image)


def made_for(suite: str) -> Path:
    """Return the folder with a suite's kernel, first file system and root; minutes the first time."""
    recipe = hashlib.sha256(f"{PACKAGES}{FIRST}{CONSOLE}{NETWORK}{SILENT}".encode()).hexdigest()[:12]
    made = cache() / f"board-{suite}-{recipe}"
    if not (made / "first.gz").exists():
        if os.geteuid() != 0:
            raise LabError("making a card needs root")
        for program, package in (
            *(("mmdebstrap", "mmdebstrap"), ("qemu-aarch64-static", "qemu-user-static"), ("cpio", "cpio")),
            *(("depmod", "kmod"), ("xz", "xz-utils"), ("arch-test", "arch-test")),
        ):
            need(program, package)
        _emulate()
        _make(suite, made)
    return made


def _emulate() -> None:
    """Have the kernel run arm64 programs by qemu, for the second half of making a root."""
    if not (KNOWN / "status").exists():
        _run("mount", "-t", "binfmt_misc", "binfmt_misc", str(KNOWN))
    if not (KNOWN / "qemu-aarch64").exists():
        (KNOWN / "register").write_text(EMULATOR.read_text().strip())


def _make(suite: str, made: Path) -> None:
    made.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix="new-", dir=made.parent))
    fetched = new / "fetched"
    fetched.mkdir()
    kernel = "apt-cache depends linux-image-arm64:arm64 | grep -o 'linux-image-[0-9][^ ]*' | head -n 1"
    fetch = (
        f"cd {fetched} && export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG"
        f" && apt-get -q download busybox-static:arm64 $({kernel})"
    )
    _run(
        *("mmdebstrap", "--arch=arm64", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
        *("--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*"),
        *("--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/lib/udev/hwdb.d/*"),
        *(f"--customize-hook={fetch}", suite, str(new / "root")),
        text="\n".join(sources(suite)),
    )
    unpacked = new / "unpacked"
    for found in fetched.glob("*.deb"):
        _run("dpkg-deb", "-x", str(found), str(unpacked))
    shutil.copy(next((unpacked / "boot").glob("vmlinuz-*")), new / "kernel")
    version = _modules(unpacked, new / "root")
    _first(unpacked, new / "root", version, new)
    _settle(new / "root")
    for left in (fetched, unpacked):
        shutil.rmtree(left)
    new.chmod(0o755)
    shutil.rmtree(made, ignore_errors=True)
    new.rename(made)


def _modules(unpacked: Path, root: Path) -> str:
    """Put the kernel's modules into the root; return the kernel's version."""
    found = next(path for path in unpacked.rglob("modules/*/kernel") if path.is_dir()).parent
    for name in NOT_ON_THIS_BOARD:
        shutil.rmtree(found / "kernel" / name, ignore_errors=True)
    shutil.copytree(found, root / "usr/lib/modules" / found.name, symlinks=True)
    _run("depmod", "-b", str(root), found.name)
    return found.name


def _first(unpacked: Path, root: Path, version: str, new: Path) -> None:
    """Make the first file system: busybox, the modules of the disk, and a program that goes on to the card."""
    first = new / "first"
    (first / "bin").mkdir(parents=True)
    (first / "modules").mkdir()
    busybox = next(path for path in unpacked.rglob("bin/busybox") if path.is_file())
    Path(shutil.copy(busybox, first / "bin/busybox")).chmod(0o755)
    order: list[str] = []
    for module in NEEDED_BY_BOOT:
        shown = _run("modprobe", "-d", str(root), "-S", version, "--show-depends", module)
        order += [line.split()[1] for line in shown.splitlines() if line.startswith("insmod")]
    for number, path in enumerate(dict.fromkeys(order)):
        copy = Path(shutil.copy(path, first / "modules" / f"{number:02}-{Path(path).name}"))
        if copy.suffix == ".xz":
            _run("xz", "-d", str(copy))
        elif copy.suffix == ".zst":
            _run("zstd", "-q", "-d", "--rm", str(copy))
    (first / "init").write_text(FIRST)
    (first / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(first)) for path in sorted(first.rglob("*")))
    packed = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], cwd=first, input=names.encode(), capture_output=True, check=True
    ).stdout
    (new / "first.gz").write_bytes(gzip.compress(packed))
    shutil.rmtree(first)


def _settle(root: Path) -> None:
    """Give the root a console, a network and no timers that wake up in the middle of a test."""
    units = root / "etc/systemd/system"
    wanted = units / "multi-user.target.wants"
    wanted.mkdir(parents=True, exist_ok=True)
    (root / "etc/hostname").write_text("board\n")
    (root / "etc/systemd/network/lab.network").write_text(NETWORK)
    (units / "lab-console.service").write_text(CONSOLE)
    (wanted / "lab-console.service").symlink_to("../lab-console.service")
    with suppress(FileExistsError):
        (wanted / "systemd-networkd.service").symlink_to("/usr/lib/systemd/system/systemd-networkd.service")
    for name in SILENT:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    (root / "var/log/journal").mkdir(parents=True, exist_ok=True)  # kept over a power cut


def _write(made: Path, package: Path, files: dict[str, str], image: Path) -> None:
    """Install a package into a copy of the root, by emulation, and make a card of it."""
    _emulate()
    with tempfile.TemporaryDirectory(dir=made, prefix="writing-") as scratch:
        upper, work, root = (Path(scratch) / name for name in ("upper", "work", "root"))
        for folder in (upper, work, root):
            folder.mkdir()
        overlay = f"lowerdir={made / 'root'},upperdir={upper},workdir={work}"
        _run("mount", "-t", "overlay", "-o", overlay, "overlay", str(root))
        try:
            shutil.copy(package, root / "package.deb")
            _run("chroot", str(root), "dpkg", "-i", "/package.deb")
            (root / "package.deb").unlink()
            for name, text in files.items():
                path = root / name.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            new = Path(scratch) / "card.img"
            with new.open("wb") as stream:
                stream.truncate(CARD_BYTES)
            _run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "card", "-d", str(root), str(new))
            new.rename(image)
        finally:
            _run("umount", str(root))


def _run(*words: str, text: str = "") -> str:
    """Run a program; LabError with its last words when it fails."""
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        raise LabError(f"{words[0]} failed ({done.returncode}): {(done.stderr or done.stdout)[-1500:]}")
    return done.stdout
