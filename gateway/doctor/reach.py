"""How far one gets to a server: its name, its port, TLS. Each step says for itself why it ends there."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
import time
from typing import Final, Literal

import msgspec

from gateway.certificates import HANDSHAKE_BYTES_MAX, Certificate, handshake_chain, parse
from gateway.doctor.scene import NET_S_MAX
from gateway.mqtt.options import TlsOptions
from gateway.mqtt.tls import tls_context

Failed = Literal["", "name", "nameserver", "refused", "timeout", "unreachable", "ours", "certificate", "client", "tls"]

IP_MTU: Final = 14  # ip(7): what the kernel knows of the way to a peer
IPV6_MTU: Final = 24
READ_BYTES: Final = 16 * 1024
_NO_WAY = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}
_OF_THE_CLIENT = ("CERTIFICATE_REQUIRED", "UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "CERTIFICATE_EXPIRED")


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What was found on the way."""

    host: str
    port: int
    tls: bool = False
    verified: bool = True  # the config asks for proof
    failed: Failed = ""
    why: str = ""  # in the words of the step that failed
    addresses: tuple[str, ...] = ()
    local: bool = False  # it is this machine
    mtu: int | None = None
    tls_version: str = ""
    chain: tuple[Certificate, ...] = ()  # of the server, its own first; more than one only where its proof failed
    verify_code: int = 0  # OpenSSL's, X509_V_ERR_*
    seconds: float = 0.0  # to the end of the last step that worked
    now_s: float = 0.0  # the clock that certificates were judged by


def reach(host: str, port: int, tls: TlsOptions | None, seconds: float = NET_S_MAX) -> Reach:
    """Go as far as TLS, then hang up. Never raises for what a network does."""
    began = time.monotonic()
    found = Reach(host=host, port=port, tls=tls is not None, verified=tls.verify if tls else True, now_s=time.time())
    try:
        context = tls_context(tls) if tls is not None else None
    except (ValueError, ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None)
        why = reason.replace("_", " ").lower() if isinstance(reason, str) else str(error)
        return msgspec.structs.replace(found, failed="ours", why=why)
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        unsure = error.errno == socket.EAI_AGAIN
        return msgspec.structs.replace(
            found, failed="nameserver" if unsure else "name", why=error.strerror or str(error)
        )
    addresses = tuple(dict.fromkeys(str(info[4][0]) for info in infos))
    found = msgspec.structs.replace(found, addresses=addresses)
    try:
        connection = _connect(infos, began + seconds)
    except OSError as error:
        failed: Failed = "unreachable" if error.errno in _NO_WAY else "timeout"
        failed = "refused" if isinstance(error, ConnectionRefusedError) else failed
        return msgspec.structs.replace(found, failed=failed, why=error.strerror or str(error) or "no answer")
    with connection:
        found = msgspec.structs.replace(
            found,
            local=connection.getsockname()[0] == connection.getpeername()[0] or _loopback(connection.getpeername()[0]),
            mtu=_mtu(connection),
            seconds=time.monotonic() - began,
        )
        if context is None or tls is None:
            return found
        connection.settimeout(max(0.1, began + seconds - time.monotonic()))
        return _tls(found, connection, context, tls, began)


def _connect(infos: list[tuple[int, int, int, str, tuple[str | int, ...]]] | list, end: float) -> socket.socket:  # type: ignore[type-arg] # getaddrinfo's own shape
    """Connect to the first address that answers; the error of the last one otherwise."""
    last: OSError = TimeoutError(errno.ETIMEDOUT, "no answer")
    for count, (family, kind, protocol, _, address) in enumerate(infos):
        left = end - time.monotonic()
        if left <= 0:
            break
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(left / (len(infos) - count))
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            last = TimeoutError(errno.ETIMEDOUT, "no answer") if isinstance(error, TimeoutError) else error
        else:
            return connection
    raise last


def _tls(found: Reach, connection: socket.socket, context: ssl.SSLContext, tls: TlsOptions, began: float) -> Reach:
    name = tls.server_name or found.host
    try:
        with context.wrap_socket(connection, server_hostname=name) as secured:
            der = secured.getpeercert(binary_form=True)
            return msgspec.structs.replace(
                found,
                tls_version=secured.version() or "",
                chain=_parsed([der] if der else []),
                seconds=time.monotonic() - began,
            )
    except ssl.SSLCertVerificationError as error:
        return msgspec.structs.replace(
            found,
            failed="certificate",
            why=error.verify_message,
            verify_code=error.verify_code,
            chain=_shown(found, name),
        )
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        failed: Failed = "client" if any(word in reason for word in _OF_THE_CLIENT) else "tls"
        return msgspec.structs.replace(found, failed=failed, why=reason.replace("_", " ").lower())
    except TimeoutError:
        return msgspec.structs.replace(found, failed="timeout", why="no answer to the first words of TLS")
    except OSError as error:
        return msgspec.structs.replace(found, failed="tls", why=error.strerror or str(error))


def _shown(found: Reach, name: str) -> tuple[Certificate, ...]:
    """Return the certificates a server shows, to say which of them it is: TLS 1.2, nothing is trusted or sent."""
    context = _trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=name)
    seen = b""
    try:
        with socket.create_connection((found.host, found.port), 1.0) as connection:
            while len(seen) < HANDSHAKE_BYTES_MAX:
                try:
                    session.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    connection.sendall(outgoing.read())
                    piece = connection.recv(READ_BYTES)
                    seen += piece
                    incoming.write(piece)
                    if not piece:
                        break
        return _parsed(handshake_chain(seen))
    except (OSError, ValueError):  # it speaks TLS 1.3 only: its own certificate at least
        return _own(found, name)


def _own(found: Reach, name: str) -> tuple[Certificate, ...]:
    try:
        with (
            socket.create_connection((found.host, found.port), 1.0) as connection,
            _trusting().wrap_socket(connection, server_hostname=name) as secured,
        ):
            der = secured.getpeercert(binary_form=True)
            return _parsed([der] if der else [])
    except OSError:
        return ()


def _trusting() -> ssl.SSLContext:
    """Return a context that takes any server, to look at what it shows; nothing is sent over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _parsed(ders: list[bytes]) -> tuple[Certificate, ...]:
    try:
        return tuple(parse(der) for der in ders)
    except ValueError:
        return ()


def _mtu(connection: socket.socket) -> int | None:
    six = connection.family == socket.AF_INET6
    try:
        return connection.getsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, IPV6_MTU if six else IP_MTU)
    except OSError:
        return None


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
