"""Twilio's signature, written after its documentation rather than with its SDK, so that the two check each other."""

import base64
import hashlib
import hmac
from collections.abc import Mapping


def signature(url: str, form: Mapping[str, str], token: str) -> str:
    """`X-Twilio-Signature` of a form that is posted to `url`.

    https://www.twilio.com/docs/usage/webhooks/webhooks-security: the whole address, then each name and value in the
    order of the names, HMAC-SHA1 with the auth token, base64.
    """
    signed = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()).decode()
