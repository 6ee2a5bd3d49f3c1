"""Servers looked at before the first token: is this the address, is the key right, is the model served there?"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

from distill.config import TeacherConfig
from distill.errors import DistillError
from distill.generate.server_client import Client
from distill.generate.server_failures import TroubleError
from distill.generate.server_routing import Endpoint
from distill.registry import did_you_mean

ROUTES = ("/chat/completions", "/completions", "/models")
# Whose log-probabilities are by default those of the raw distribution; others scale by temperature, or do not say.
RAW_LOGPROB_SERVERS = {"vllm"}


def read_key(teacher: TeacherConfig) -> str:
    """The API key from the environment; empty where the usual variable is not set, as for servers without keys.

    Raises:
        DistillError: another variable is named and not set.
    """
    key = os.environ.get(teacher.api_key_env, "").strip()
    if not key and teacher.api_key_env != TeacherConfig.model_fields["api_key_env"].default:
        raise DistillError(
            "the environment variable that teacher.api_key_env names is not set", hint="export NAME=KEY sets it"
        )
    return key


def base_address(url: str) -> str:
    """A base address as requests need it, without what people copy along.

    >>> base_address("http://localhost:8000/v1/"), base_address("https://api.example.com/v1/chat/completions")
    ('http://localhost:8000/v1', 'https://api.example.com/v1')

    Raises:
        DistillError: it is no http address.
    """
    address = url.strip().rstrip("/")
    for route in ROUTES:
        address = address.removesuffix(route)
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DistillError(
            f"'{url}' of teacher.base_urls is no http address", hint="expected one such as 'http://localhost:8000/v1'"
        )
    return address


async def open_endpoints(teacher: TeacherConfig, key: str) -> list[Endpoint]:
    """Every server of ``teacher.base_urls``, checked; those that cannot be reached now have a reason.

    Raises:
        DistillError: an address is wrong, a server refuses the key or does not serve the model, or none can be reached.
    """
    urls = list(dict.fromkeys(base_address(url) for url in teacher.base_urls))
    if not urls:
        raise DistillError(
            "the backend 'server' needs teacher.base_urls",
            hint="--set teacher.base_urls=http://localhost:8000/v1, for 'distill eval' --url",
        )
    clients = [Client(url, key, teacher.request_timeout_seconds) for url in urls]
    async with AsyncExitStack() as on_error:
        for client in clients:
            on_error.push_async_callback(client.close)
        opened = await asyncio.gather(*(_open(client, teacher, key) for client in clients), return_exceptions=True)
        for failure in opened:
            if isinstance(failure, BaseException):
                raise failure
        endpoints = [endpoint for endpoint in opened if isinstance(endpoint, Endpoint)]
        _check_reached(endpoints)
        on_error.pop_all()
    return endpoints


async def why_down(endpoint: Endpoint, model: str) -> str:
    """Why a server that was down is so still; nothing when it is back."""
    try:
        status, cards = await endpoint.client.models()
    except TroubleError as trouble:
        return str(trouble)
    if cards and model not in cards:
        return f"it serves no model '{model}'"
    if cards:
        _describe(endpoint, cards[model])
        return ""
    answers = status < 500 and status not in (401, 403, 429)  # not every server lists its models
    return "" if answers else f"http {status}"


async def _open(client: Client, teacher: TeacherConfig, key: str) -> Endpoint:
    endpoint = Endpoint(client.url, client)
    try:
        status, cards = await client.models()
    except TroubleError as trouble:
        endpoint.reason = str(trouble)
        return endpoint
    if status in (401, 403):
        raise DistillError(
            f"'{client.url}' {'refuses the API key' if key else 'wants an API key'}: http {status}",
            hint=f"export {teacher.api_key_env}=KEY, or name another environment variable with teacher.api_key_env",
        )
    if status >= 500 or status == 429:
        endpoint.reason = f"http {status}"
        return endpoint
    if not cards:
        await _check_address(client, status)
        return endpoint  # a few servers list no models: the first request will tell
    if teacher.model not in cards:
        raise DistillError(
            f"'{client.url}' serves no model '{teacher.model}'",
            hint=f"{did_you_mean(teacher.model, sorted(cards))}; see teacher.model",
        )
    _describe(endpoint, cards[teacher.model])
    return endpoint


async def _check_address(client: Client, status: int) -> None:
    """Raise where an address without models leads to another place than the protocol's."""
    if 300 <= status < 400:
        raise DistillError(f"'{client.url}' leads elsewhere: http {status}", hint="https instead of http, perhaps?")
    if client.url.endswith("/v1"):
        return
    try:
        _, cards = await client.models("/v1")
    except TroubleError:
        return
    if cards:
        raise DistillError(f"'{client.url}' is not where the server answers", hint=f"did you mean '{client.url}/v1'?")


def _describe(endpoint: Endpoint, card: Mapping[str, Any]) -> None:
    """Take over what the model's card says."""
    length = card.get("max_model_len")
    endpoint.max_model_len = length if isinstance(length, int) and length > 0 else None
    endpoint.raw_logprobs = card.get("owned_by") in RAW_LOGPROB_SERVERS


def _check_reached(endpoints: Sequence[Endpoint]) -> None:
    if not all(endpoint.reason for endpoint in endpoints):
        return
    first = endpoints[0]
    others = f", nor can {len(endpoints) - 1} others" if len(endpoints) > 1 else ""
    raise DistillError(
        f"'{first.url}' cannot be used: {first.reason}{others}",
        hint="is the server up? a large model takes minutes to load",
    )
