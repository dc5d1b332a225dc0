"""Real receivers of messages on this machine: an SMTP server, with or without TLS and logins, and an HTTP server."""

import asyncio
import base64
import datetime
import email
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.http_server import Handler, served


def make_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "mail.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


@dataclass
class MailServer:
    """What came: mails, logins, and which of them over TLS. `refuse`: answers each mail with this line instead."""

    port: int = 0
    mails: list[Message] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    refuse: str = ""


class _Session:
    """One client's session."""

    def __init__(self, server: MailServer, context: ssl.SSLContext | None) -> None:
        self.server, self.context, self.secure = server, context, False

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\r\n")
        while line := (await reader.readline()).decode().strip():
            verb = line.upper().split(" ")[0]
            if verb == "EHLO":
                offered = ["250-mail"] + (["250-STARTTLS"] if self.context and not self.secure else [])
                writer.write("\r\n".join([*offered, "250 AUTH PLAIN", ""]).encode())
            elif verb == "STARTTLS":
                writer.write(b"220 go on\r\n")
                await writer.drain()
                assert self.context is not None
                await writer.start_tls(self.context)
                self.secure = True
            elif verb == "AUTH":
                self.server.logins.append(base64.b64decode(line.split(" ")[2]).decode())
                writer.write(b"235 come in\r\n")
            elif verb == "DATA":
                await self._mail(reader, writer)
            elif verb == "QUIT":
                writer.write(b"221 bye\r\n")
                await writer.drain()
                break
            else:
                writer.write(b"250 ok\r\n")
        writer.close()

    async def _mail(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.server.refuse:
            writer.write(f"{self.server.refuse}\r\n".encode())
            return
        writer.write(b"354 go on\r\n")
        text = await reader.readuntil(b"\r\n.\r\n")
        self.server.mails.append(email.message_from_bytes(text[:-5]))
        self.server.encrypted.append(self.secure)
        writer.write(b"250 taken\r\n")


@contextmanager
def mail_server(certificate: Path | None = None) -> Iterator[MailServer]:
    """An SMTP server in a thread; it offers STARTTLS when it has a certificate."""
    found = MailServer()
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(lambda r, w: _Session(found, context).talk(r, w), "127.0.0.1", 0)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@dataclass
class Hook:
    """What was posted: path, headers, document. `status`: what is answered."""

    port: int = 0
    posts: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    status: int = 200


@contextmanager
def web_hook() -> Iterator[Hook]:
    """An HTTP server in a thread."""
    hook = Hook()

    class Receiver(Handler):
        def do_POST(self) -> None:
            hook.posts.append((self.path, dict(self.headers), json.loads(self.posted())))
            self.answer(hook.status)

    with served(Receiver) as hook.port:
        yield hook
