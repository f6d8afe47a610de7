"""A certificate authority for tests, made with the openssl command (elliptic curves: quick)."""

from __future__ import annotations

import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """A CA in a folder; `issue` makes a certificate and key signed by it."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        self.folder = folder
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        _openssl(
            "req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.certificate
        )

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return (certificate, key) for a name, valid as server on 127.0.0.1 and localhost, and as client."""
        certificate, key, request = (self.folder / f"{name}{end}" for end in (".pem", ".key", ".csr"))
        extensions = self.folder / f"{name}.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
        _openssl("req", *_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        signed = ("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-days", "2")
        _openssl("x509", "-req", "-in", request, *signed, "-extfile", extensions, "-out", certificate)
        return certificate, key

    def issue_for(self, name: str, begin: str, end: str) -> tuple[Path, Path]:
        """Return (certificate, key) valid from one time to another, as ``20300101000000Z``."""
        certificate, key = self.issue(name)
        request, settings = self.folder / f"{name}.csr", self.folder / f"{name}.cnf"
        (self.folder / "index").touch()
        settings.write_text(
            f"[ca]\ndefault_ca=one\n[one]\ndatabase={self.folder}/index\nnew_certs_dir={self.folder}\n"
            "default_md=sha256\npolicy=any\nrand_serial=yes\nunique_subject=no\n[any]\ncommonName=supplied\n"
        )
        times = ("-startdate", begin, "-enddate", end, "-extfile", self.folder / f"{name}.ext")
        ours = ("-config", settings, "-cert", self.certificate, "-keyfile", self._key)
        _openssl("ca", "-batch", "-notext", *ours, *times, "-in", request, "-out", certificate)
        return certificate, key


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
