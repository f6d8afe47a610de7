"""TLS to a peer: the context, and what to do when only the dates of its certificate are wrong and our clock may be.

A machine without a clock chip believes after a power cut that it is some past day, and every certificate looks as if it
were not valid yet. Trying again changes nothing until the clock is set; giving up the check would let anybody in who
has an old key. So a peer is asked once more, with every check but that of time: if the rest holds, it is the clock that
is waited for, the state says so with both dates, and the connection is made when the clock is set. Nothing is sent to
the peer in that handshake, not even our certificate.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from typing import Final

import msgspec

from gateway.clock import NS_PER_S, STEP_NS_MIN, Clock, rfc3339
from gateway.mqtt.options import TlsOptions

LOOK_S: Final = 1.0  # between two looks at the clock
FOLLOW_S_MAX: Final = 3.0  # for the gateway's clock to follow: what is sent then has its true time
TRY_S_MAX: Final = 600.0  # then the peer is asked again: it may have another certificate
_TIME_CODES: Final = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME (X509_VERIFY_PARAM_set_flags(3))


class WaitsForClock(msgspec.Struct, frozen=True, kw_only=True):
    """Why a connection waits for the clock. Times are seconds since 1970; 0: the peer could not be asked."""

    words: str  # OpenSSL's
    not_before_s: float = 0.0
    not_after_s: float = 0.0

    @property
    def text(self) -> str:
        """Say it for a person, with the clock as it is now."""
        now_s = time.time()
        here = f"this machine says {_written(now_s)}"
        if not self.not_after_s:
            return f"waiting for the clock: {self.words}, {here} and nobody has set its clock"
        if now_s < self.not_before_s:
            return f"waiting for the clock: certificate valid from {_written(self.not_before_s)}, {here}"
        if now_s > self.not_after_s:
            return f"waiting for the clock: certificate valid until {_written(self.not_after_s)}, {here}"
        return f"waiting for the clock: a certificate above the peer's is not valid at {_written(now_s)}"

    @property
    def fits(self) -> bool:
        """Whether the certificate is valid by the clock as it is now."""
        return self.not_before_s <= time.time() <= self.not_after_s


def tls_context(options: TlsOptions) -> ssl.SSLContext:
    """Make a TLS context of what the files say now.

    ValueError: a file cannot be read; ssl.SSLError: it is not what it should be.
    """
    for path in filter(None, (options.ca, options.certificate, options.key)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror}") from None
    context = ssl.create_default_context(cafile=options.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.ca is not None:  # Python 3.13 asks for extensions that a house's own certificates seldom have
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.certificate is not None:
        context.load_cert_chain(options.certificate, options.key, options.key_password)
    if options.alpn:
        context.set_alpn_protocols(options.alpn)
    return context


async def judged(
    error: BaseException, clock: Clock, options: TlsOptions, host: str, port: int, timeout_s: float, *, ask: bool = True
) -> WaitsForClock | None:
    """Return what a failed handshake waits for, if that is the clock; None: the failure is what it says.

    `ask`: whether the peer can be asked again at `host`, `port` (not behind a proxy).
    """
    if not isinstance(error, ssl.SSLCertVerificationError) or error.verify_code not in _TIME_CODES or clock.synced():
        return None
    found = WaitsForClock(words=error.verify_message)
    if not ask:
        return found
    try:
        context = await asyncio.to_thread(tls_context, msgspec.structs.replace(options, certificate=None, key=None))
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(
                host, port, ssl=context, server_hostname=options.server_name or host
            )
    except ssl.SSLCertVerificationError:
        return None  # there is more wrong with it than its dates
    except (OSError, ValueError):
        return found  # away, or it wants our certificate at once: TLS 1.2
    peer = writer.get_extra_info("ssl_object").getpeercert() or {}
    writer.transport.abort()
    with contextlib.suppress(KeyError, ValueError):
        before, after = (ssl.cert_time_to_seconds(peer[each]) for each in ("notBefore", "notAfter"))
        return msgspec.structs.replace(found, not_before_s=before, not_after_s=after)
    return found


async def clock_set(doubt: WaitsForClock, clock: Clock) -> None:
    """Return when the clock is believed, shows a time at which the certificate is valid, or was set; after long anyway.

    It looks at the machine's own clock, as OpenSSL does: the gateway's follows it within a second, and is waited for.
    """
    began_s, offset_s = time.monotonic(), time.time() - time.monotonic()
    set_s: float | None = None
    while (now_s := time.monotonic()) - began_s < TRY_S_MAX:
        await asyncio.sleep(LOOK_S)
        moved_s = abs(time.time() - time.monotonic() - offset_s)
        if clock.synced() or doubt.fits or (not doubt.not_after_s and moved_s >= STEP_NS_MIN / NS_PER_S):
            set_s = now_s if set_s is None else set_s
            if abs(clock.wall_ns() - time.time_ns()) < STEP_NS_MIN or now_s - set_s > FOLLOW_S_MAX:
                return


def _written(seconds: float) -> str:
    return rfc3339(int(seconds) * NS_PER_S)[:19] + "Z"
