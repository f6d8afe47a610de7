"""Packages of one's own for rules: what rules/requirements.lock names, in a folder of its own in the state folder.

The folder is named by the lock's hash, built beside and renamed into place, so it is there whole or not at all.  pip
installs wheels with the hashes the lock gives and nothing else: no code of a package runs while it is installed.  The
worker gets the folder behind the gateway's own packages, which therefore keep their versions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Collection
from pathlib import Path

from gateway.rules.files.snapshot import LOCK, content
from gateway.rules.options import RuleOptions

log = logging.getLogger(__name__)

BUILD_S_MAX = 600.0
SAID_CHARS_MAX = 500
FOLDER = "site-packages"  # its name tells the worker's walls that it may be read
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY",
             "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")  # fmt: skip


class Packages:
    """The folders of packages. Nothing is built before a lock is there."""

    def __init__(self, options: RuleOptions, folder: Path | None) -> None:
        """Keep them in `folder`; without one there are none."""
        self._options = options
        self._folder = folder
        self._building: asyncio.Task[None] | None = None
        self._failed: dict[str, str] = {}  # hash of a lock -> why it can't be built

    def path(self, lock: bytes | None) -> Path | None:
        """Return the folder of a lock's packages, if it is there."""
        place = self._place(lock)
        return place / FOLDER if place is not None and (place / FOLDER).is_dir() else None

    def missing(self, lock: bytes | None) -> str:
        """Say why a lock's packages are not there (they are being built, or can't be); empty when they are."""
        if lock is None or self.path(lock) is not None:
            return ""
        if self._folder is None:
            return "there is no state folder for packages"
        return self._failed.get(content(lock), "its packages are being installed")

    def build(self, lock: bytes, done: asyncio.Event) -> None:
        """Begin to install a lock's packages, unless somebody is at it; `done` is set at the end."""
        if self._building is None and self.path(lock) is None and content(lock) not in self._failed:
            self._building = asyncio.create_task(self._build(lock, done), name="gateway.rules[packages]")

    async def built(self, lock: bytes | None) -> None:
        """Install a lock's packages and return when that is over, well or not."""
        if lock is not None and self._folder is not None and self.path(lock) is None:
            await self._build(lock, asyncio.Event())

    async def close(self) -> None:
        """Give up what is being built."""
        if self._building is not None:
            self._building.cancel()
            await asyncio.gather(self._building, return_exceptions=True)

    def sweep(self, wanted: Collection[bytes]) -> None:
        """Remove the folders of other locks. May block on the disk."""
        keep = {self._place(lock) for lock in wanted}
        if self._folder is not None and self._folder.is_dir() and self._building is None:
            for place in self._folder.iterdir():
                if place not in keep:
                    shutil.rmtree(place, ignore_errors=True)

    def forget_failures(self) -> None:
        """Try again what could not be built: the network may be back."""
        self._failed.clear()

    def _place(self, lock: bytes | None) -> Path | None:
        return None if lock is None or self._folder is None else self._folder / content(lock)[:16]

    async def _build(self, lock: bytes, done: asyncio.Event) -> None:
        place = self._place(lock)
        assert place is not None
        beside = place.with_name(f".{place.name}.new")
        try:
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True)
            (beside / LOCK).write_bytes(lock)
            why = await self._pip(beside)
            if why:
                self._failed[content(lock)] = why
            else:
                beside.rename(place)
                log.info("rules: packages of %s are installed in %s", LOCK, place)
        except OSError as error:
            self._failed[content(lock)] = f"its packages can't be installed: {error}"
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            self._building = None
            done.set()

    async def _pip(self, beside: Path) -> str:
        """Run pip; returns why it failed, empty when it went well."""
        words = [
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--no-input",
            "--disable-pip-version-check",
            "--no-cache-dir",
        ]
        for folder in self._options.wheels:
            words += ["--no-index", "--find-links", str(folder)]
        words += ["--no-compile", "--target", str(beside / FOLDER), "--requirement", str(beside / LOCK)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pip", "install", *words,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
        )  # fmt: skip
        try:
            async with asyncio.timeout(BUILD_S_MAX):
                _, said = await process.communicate()
        except TimeoutError:
            return f"its packages were not installed within {BUILD_S_MAX:g} s"
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode == 0:
            (beside / FOLDER).mkdir(exist_ok=True)  # a lock that names nothing
            return ""
        lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        return f"its packages can't be installed: {' '.join(errors)}"[:SAID_CHARS_MAX]
