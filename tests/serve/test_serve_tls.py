"""Certificates: one made here, those out of files, and everything that can be wrong with them."""

import ssl
import stat
from pathlib import Path

import aiohttp
import pytest

from fakes import FakePorts
from fullduplex.base.errors import ConfigError
from fullduplex.serve import tls
from fullduplex.serve.gate import ServeConfig
from fullduplex.serve.tls import fingerprint, self_signed, tls_context

pytest.importorskip("cryptography")

HERE = ("127.0.0.1", "localhost", "::1")


def split(pem: Path, folder: Path) -> tuple[Path, Path]:
    """Certificate and key in files of their own."""
    text = pem.read_text()
    at = text.index("-----BEGIN PRIVATE KEY-----")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_text(text[:at])
    key.write_text(text[at:])
    return certificate, key


async def test_a_conversation_over_a_certificate_of_our_own(serve_with, tmp_path: Path) -> None:
    pem = self_signed(tmp_path, HERE)
    known = ssl.create_default_context(cafile=str(pem))
    async with serve_with(ServeConfig(port=0), FakePorts, tls=tls_context(pem)) as server:
        assert server.url.startswith("https://")
        client = await server.connect(ssl=known, headers={"Origin": server.url})
        await client.say("hello there")
        await client.silence(1.0)
        await client.wait("response.done", timeout_s=15)
        assert client.heard
        await client.close()
        async with server.http.get(f"{server.url}/healthz", ssl=known) as reply:
            assert reply.status == 200
        shown = bytes.fromhex(fingerprint(pem).replace(":", ""))
        async with server.http.get(f"{server.url}/healthz", ssl=aiohttp.Fingerprint(shown)) as reply:
            assert reply.status == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await server.http.get(f"{server.url}/healthz")


def test_it_is_kept_for_its_owner_alone_and_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    first = self_signed(folder, HERE)
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    kept = first.read_bytes()
    assert self_signed(folder, HERE) == first and first.read_bytes() == kept
    other = self_signed(folder, ("machine.example", *HERE))
    assert other != first and fingerprint(other) != fingerprint(first)
    assert sorted(folder.iterdir()) == sorted([first, other])


def test_a_broken_or_ageing_one_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = self_signed(tmp_path, HERE)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert self_signed(tmp_path, HERE) == path
    mended = path.read_bytes()
    assert mended != whole and tls_context(path)
    monkeypatch.setattr(tls, "_RENEW", tls._LIFE + tls._RENEW)
    self_signed(tmp_path, HERE)
    assert path.read_bytes() != mended


def test_certificate_and_key_may_be_two_files(tmp_path: Path) -> None:
    certificate, key = split(self_signed(tmp_path, HERE), tmp_path)
    assert tls_context(certificate, key)
    with pytest.raises(ConfigError, match="certificate-key"):
        tls_context(certificate)


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff" * 100, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"some\.pem cannot be used"):
        tls_context(path)


def test_files_that_are_missing_strange_or_locked_are_refused(tmp_path: Path) -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    certificate, key = split(self_signed(tmp_path, HERE), tmp_path)
    with pytest.raises(ConfigError, match="is not there"):
        tls_context(tmp_path / "absent.pem")
    with pytest.raises(ConfigError, match="is not there"):
        tls_context(certificate, tmp_path)
    (tmp_path / "other").mkdir()
    _, foreign = split(self_signed(tmp_path, ("machine.example",)), tmp_path / "other")
    with pytest.raises(ConfigError, match="belongs to it"):
        tls_context(certificate, foreign)
    secret = serialization.load_pem_private_key(key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"sesame")
    key.write_bytes(secret.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    with pytest.raises(ConfigError, match="no password"):
        tls_context(certificate, key)


def test_a_fingerprint_needs_a_certificate(tmp_path: Path) -> None:
    path = tmp_path / "some.pem"
    path.write_text("nothing")
    with pytest.raises(ConfigError, match="no certificate"):
        fingerprint(path)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be kept"):
        self_signed(tmp_path / "file" / "folder", HERE)
