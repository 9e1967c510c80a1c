"""Channel `smtp`: a mail in plain text.

Options: `host`, `sender`, `recipients`; perhaps `port` (587), `security` ("starttls", "tls" or
"none"), `user`, `password`, `timeout_s`. Certificates are checked, by the machine's authorities or
by those of `cafile`.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any

from cloud.notify.base import (
    Notification,
    PermanentError,
    RetryableError,
    as_text,
    known_options,
)

PORT = 587
TIMEOUT_S = 15.0
SECURITY = ("starttls", "tls", "none")
PERMANENT_FROM = 500
"""RFC 5321, 4.2.1: replies from 500 on are permanent."""


def mail(notification: Notification, options: Mapping[str, Any]) -> EmailMessage:
    """The notification as a mail; no text of an alert can add a header."""
    message = EmailMessage()
    message["From"] = options["sender"]
    message["To"] = ", ".join(options["recipients"])
    message["Subject"] = notification.title
    message["Date"] = formatdate(notification.at_s)
    message["Message-ID"] = f"<{notification.id}@openvrc>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(as_text(notification))
    return message


class Smtp:
    """Sends by a mail server, a connection each."""

    name = "smtp"

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse what cannot be a mail."""
        others = {"port", "security", "user", "password", "timeout_s", "cafile"}
        known_options(options, needed={"host", "sender", "recipients"}, others=others)
        if not isinstance(options["recipients"], list) or not options["recipients"]:
            raise PermanentError("recipients is no list of addresses")
        if options.get("security", "starttls") not in SECURITY:
            raise PermanentError(f"security is none of {SECURITY}")

    def send(self, notification: Notification, options: Mapping[str, Any]) -> None:
        """Send one mail to all recipients."""
        try:
            with _connect(options) as server:
                if options.get("user"):
                    server.login(str(options["user"]), str(options.get("password", "")))
                refused = server.send_message(mail(notification, options))
        except smtplib.SMTPResponseException as error:
            kind = PermanentError if error.smtp_code >= PERMANENT_FROM else RetryableError
            raise kind(f"answered {error.smtp_code}") from error
        except smtplib.SMTPRecipientsRefused as error:
            is_final = all(code >= PERMANENT_FROM for code, _ in error.recipients.values())
            kind = PermanentError if is_final else RetryableError  # greylisting answers 450
            raise kind(f"{len(error.recipients)} recipients were refused") from error
        except (OSError, smtplib.SMTPException) as error:
            raise RetryableError(f"{type(error).__name__}: {error}") from error
        if refused:  # the others have it: another attempt would tell them twice
            raise PermanentError(f"refused for {', '.join(sorted(refused))}, sent to the others")


def _connect(options: Mapping[str, Any]) -> smtplib.SMTP:
    security = options.get("security", "starttls")
    where = (str(options["host"]), int(options.get("port", PORT)))
    timeout_s = float(options.get("timeout_s", TIMEOUT_S))
    context = ssl.create_default_context(cafile=options.get("cafile"))
    if security == "tls":
        return smtplib.SMTP_SSL(*where, timeout=timeout_s, context=context)
    server = smtplib.SMTP(*where, timeout=timeout_s)
    if security == "starttls":
        server.starttls(context=context)
    return server


PLUGIN = Smtp()
