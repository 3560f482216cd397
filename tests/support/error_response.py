"""Responses that report an error."""

import httpx


def answer(status, message="no", code="x", **headers):
    """Return a response with an error as OpenAI writes it."""
    body = {"error": {"message": message, "code": code}}
    return httpx.Response(status, json=body, headers=headers)
