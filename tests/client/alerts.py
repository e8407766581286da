"""Takes alerts as their consumers would: webhooks, read with the official libraries of Standard Webhooks and CloudEvents,
and e-mail. Writes a line of JSON for each into a file before it answers.

A path of its webhooks is a name of a secret; what is not signed with it is answered with 401. `/gone/…` answers 410,
`/slow/…` only after the line was written and a while has passed.
"""

import asyncio
import hashlib
import json
import ssl
import sys
import threading
import time
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import trustme
from aiosmtpd.smtp import SMTP
from cloudevents.http import from_http
from standardwebhooks import Webhook

heard, authority = sys.argv[1:3]
SECRETS = dict(it.split("=", 1) for it in sys.argv[3:])
LOCK = threading.Lock()


def hear(**line):
    with LOCK, open(heard, "a") as file:
        print(json.dumps(line), file=file)


class Consumer(BaseHTTPRequestHandler):
    def do_POST(self):
        how, name = (["plain"] + self.path.strip("/").split("/"))[-2:]
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {key.lower(): value for key, value in self.headers.items()}
        try:
            Webhook(SECRETS[name]).verify(body, headers)
            event = from_http(headers, body)
        except Exception as error:
            hear(how="invalid", path=self.path, why=f"{type(error).__name__} {error}")
            return self.answer(401)
        hear(
            how="webhook",
            path=self.path,
            id=headers["webhook-id"],
            event=event["id"],
            type=event["type"],
            body=hashlib.sha256(body).hexdigest(),
            alerts=event.data["alerts"],
        )
        if how == "slow":
            time.sleep(0.03)
        self.answer(410 if how == "gone" else 204)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Mailbox:
    async def handle_DATA(self, server, session, envelope):
        mail = message_from_bytes(envelope.content)
        hear(
            how="mail",
            path=envelope.rcpt_tos[0],
            id=mail["message-id"],
            secured=session.ssl is not None,
            subject=mail["subject"],
            text=mail.get_payload(decode=True).decode(),
        )
        return "250 kept"


authorities = trustme.CA()
authorities.cert_pem.write_to_path(authority)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
authorities.issue_cert("localhost").configure_cert(context)

plain = ThreadingHTTPServer(("127.0.0.1", 0), Consumer)
secured = ThreadingHTTPServer(("127.0.0.1", 0), Consumer)
secured.socket = context.wrap_socket(secured.socket, server_side=True)
for server in (plain, secured):
    threading.Thread(target=server.serve_forever, daemon=True).start()


async def serve():
    loop = asyncio.get_running_loop()
    mail = await loop.create_server(
        lambda: SMTP(Mailbox(), tls_context=context, require_starttls=True), "127.0.0.1", 0
    )
    print(plain.server_port, secured.server_port, mail.sockets[0].getsockname()[1], flush=True)
    await mail.serve_forever()


asyncio.run(serve())
