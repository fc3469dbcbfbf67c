"""The only place that knows Twilio's SDK: `signature` checks what comes in, `rest` sends."""

from __future__ import annotations

from channels.sms.client.rest import SmsChannel
from channels.sms.client.signature import BadSignature, verify

__all__ = ["BadSignature", "SmsChannel", "verify"]
