"""Encryption: a certificate out of files, or one made here, so that a phone in the same network may use its microphone.

Browsers give a page the microphone on localhost or over https alone (W3C Secure Contexts; Media Capture and Streams, 10.2).
"""

import hashlib
import ipaddress
import os
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from fullduplex.base.errors import ConfigError, MissingExtraError
from fullduplex.base.files import whole_file

__all__ = ["fingerprint", "self_signed", "tls_context"]

_LIFE = timedelta(days=800)  # Apple's systems accept 825 days at most
_RENEW = timedelta(days=7)


def tls_context(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """What a server needs to encrypt. `key` None: the private key is in the certificate's file.

    Raises:
        ConfigError: a file is missing or unreadable, is no PEM, or the two do not belong together.
    """
    for path in (certificate, *([key] if key else [])):
        if not path.is_file():
            raise ConfigError(f"{path} is not there; expected a PEM file of a certificate or its private key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password of our own OpenSSL would ask for one at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, OSError, ValueError) as error:
        hint = "" if key else " (a private key in a file of its own is given with --certificate-key)"
        raise ConfigError(
            f"{certificate} cannot be used: {error}; expected PEM, the certificate first, then its chain, and a private "
            f"key that belongs to it and has no password{hint}"
        ) from error
    return context


def self_signed(folder: Path, hosts: Iterable[str]) -> Path:
    """A certificate with its key in one PEM file, for these names and addresses; the one of the last time while it fits.

    Only its owner may read the file. Browsers warn of such a certificate once; its `fingerprint` tells whether it is ours.

    Raises:
        MissingExtraError: cryptography is not installed.
        ConfigError: the file cannot be written.
    """
    try:
        import_module("cryptography")
    except ImportError as error:
        raise MissingExtraError("cryptography", "talk") from error
    names = tuple(dict.fromkeys(hosts))
    path = folder / ("self-signed-" + hashlib.sha256("\n".join(names).encode()).hexdigest()[:12] + ".pem")
    if not _fits(path):
        _write_privately(path, _make(names))
    return path


def fingerprint(path: Path) -> str:
    """SHA-256 of the first certificate in a PEM file, as browsers show it: "AB:CD:…".

    Raises:
        ConfigError: no certificate is in it.
    """
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    text = path.read_text(encoding="ascii", errors="replace")
    if begin not in text or end not in text:
        raise ConfigError(f"{path} holds no certificate in PEM")
    body = text[text.index(begin) : text.index(end) + len(end)]
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(body)).digest().hex(":").upper()


def _fits(path: Path) -> bool:
    x509: Any = import_module("cryptography.x509")
    try:
        tls_context(path)
        kept = x509.load_pem_x509_certificate(path.read_bytes())
    except (ConfigError, ValueError, OSError):
        return False
    return bool(kept.not_valid_after_utc - datetime.now(UTC) > _RENEW)


def _make(names: tuple[str, ...]) -> bytes:
    x509: Any = import_module("cryptography.x509")
    ec: Any = import_module("cryptography.hazmat.primitives.asymmetric.ec")
    forms: Any = import_module("cryptography.hazmat.primitives.serialization")
    hashes: Any = import_module("cryptography.hazmat.primitives.hashes")
    use: Any = import_module("cryptography.x509.oid").ExtendedKeyUsageOID
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fullduplex on " + names[0][:40])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName([_alternative(x509, name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(forms.Encoding.PEM) + key.private_bytes(
        forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()
    )


def _alternative(x509: Any, name: str) -> Any:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode("ascii"))


def _write_privately(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            whole_file(path) as partial,
            open(partial, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file,
        ):
            file.write(data)
    except OSError as error:
        raise ConfigError(f"the certificate cannot be kept in {path.parent}: {error}") from error
