"""Bytes inside text files."""

import base64


def base64_text(content: bytes) -> str:
    """Bytes in base64, as in an address of the form data:..."""
    return base64.b64encode(content).decode()
