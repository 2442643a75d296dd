"""Every error in OpenAI's shape, with the status that says whose fault it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from rxt.engine.events import HasMemory, NotThere, NotWaiting, Occupied, OtherModel, OtherScope, TooLong, TooMany
from rxt.engine.scheduler import Overloaded, Stopped
from rxt.errors import UserError
from rxt.server.replies import ErrorBody, ErrorReply
from rxt.store.base import Moved, StoreFailed
from rxt.store.records import Damaged

log = logging.getLogger("rxt.server")

RETRY_SECONDS = "1"
UNREADABLE = "There was an error parsing the body"
"""What FastAPI says of a body that cannot even be decoded."""


class Refused(HTTPException):
    """An error with its status."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(status, message)
        self.status, self.message, self.code, self.param = status, message, code, param


def refusal(error: Exception) -> Refused:
    """What a client is told of an error; nothing of what is inside where the fault is the server's."""
    match error:
        case Refused():
            return error
        case NotThere(what="response"):
            return Refused(404, str(error), "response_not_found")
        case NotThere():
            return Refused(404, str(error), f"{error.what}_not_found")
        case Occupied():
            return Refused(409, str(error), "conversation_locked", "conversation")
        case Moved():
            return Refused(409, str(error), "conversation_moved", "conversation")
        case HasMemory():
            return Refused(409, str(error), "memory_exists")
        case OtherModel():
            return Refused(409, str(error), "model_mismatch")
        case TooMany():
            return Refused(429, str(error), "rate_limit_exceeded")
        case Overloaded():
            return Refused(503, str(error), "server_overloaded")
        case Stopped():
            return Refused(503, str(error), "server_stopping")
        case StoreFailed():
            log.error("the store failed: %s", error)
            return Refused(
                503,
                "the store of conversations has failed; nothing of this turn is kept, try again later",
                "store_failed",
            )
        case Damaged():
            log.error("damaged: %s", error)
            return Refused(
                409, "this conversation is damaged in the store; go on from an earlier response", "memory_damaged"
            )
        case TooLong():
            return Refused(400, str(error), "context_length_exceeded", error.where)
        case OtherScope():
            return Refused(400, str(error), "memory_scope", "memory")
        case NotWaiting():
            return Refused(400, str(error), "call_not_waiting", error.where)
        case UserError():
            return Refused(400, str(error), "invalid_request")
    log.error("an error of the server", exc_info=error)
    return Refused(500, "the server failed; its log says why", "server_error")


def body_of(refused: Refused) -> ErrorReply:
    """The error as clients read it."""
    kinds = {401: "authentication_error", 429: "rate_limit_error"}
    kind = kinds.get(refused.status, "server_error" if refused.status >= 500 else "invalid_request_error")
    return ErrorReply(error=ErrorBody(message=refused.message, type=kind, param=refused.param, code=refused.code))


def reply(refused: Refused) -> JSONResponse:
    """The whole reply."""
    headers = {"Retry-After": RETRY_SECONDS} if refused.status in (429, 503) else {}
    if refused.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body_of(refused).model_dump(), refused.status, headers)


def invalid(errors: Sequence[Any]) -> Refused:
    """What is wrong with a body or a query, by the innermost field that is. What was sent is not repeated."""
    first = max(errors, key=lambda error: len(error["loc"]))
    if first["type"] == "json_invalid":
        return Refused(400, "the body is not JSON", "invalid_json")
    where = [str(part) for part in first["loc"][1:] if not _is_branch(part)]
    name = ".".join(where) or None
    match first["type"]:
        case "extra_forbidden":
            return Refused(400, f"Unsupported parameter: {name!r}; leave it out", "unsupported_parameter", name)
        case "missing":
            return Refused(
                400,
                f"Missing required parameter: {name!r}" if name else "the body is missing",
                "missing_required_parameter",
                name,
            )
    wrong = _in_words(first)
    return Refused(
        400, f"Invalid value for {name!r}: {wrong}" if name else f"Invalid body: {wrong}", "invalid_value", name
    )


def _in_words(error: Any) -> str:
    """What is wrong with a value, as pydantic says it, but where its own words name types of this program."""
    match error["type"]:
        case "literal_error":
            return f"it can only be {str(error['ctx']['expected']).replace('False', 'false')}"
        case "too_long" if error["ctx"]["max_length"] == 0:
            return "this is not supported; leave it out"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "it must be a JSON object"
    return error["msg"]


def not_json(request: Request, errors: Sequence[Any]) -> Refused | None:
    """A body that was not read because its Content-Type is not JSON's; None where that is not what is wrong."""
    unread = any(tuple(error["loc"]) == ("body",) and error["type"] != "missing" for error in errors)
    sent = request.headers.get("content-type")
    kind = (sent or "").partition(";")[0].strip().lower()
    if not unread or kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return None
    found = "there is no Content-Type" if sent is None else f"Content-Type {sent[:100]!r} is not supported"
    return Refused(415, f"{found}; send Content-Type: application/json", "unsupported_content_type")


def _is_branch(part: object) -> bool:
    """Whether a part of a location names a type of a union, not a field."""
    return isinstance(part, str) and (part[:1].isupper() or "[" in part or part in ("str", "constrained-str"))


def install(app: FastAPI) -> None:
    """Have all errors told this way."""

    async def wrong_body(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return reply(not_json(request, error.errors()) or invalid(error.errors()))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if error.detail == UNREADABLE:
            return reply(Refused(400, "the body is not JSON in UTF-8", "invalid_json"))
        messages = {
            404: f"there is no {request.method} {request.url.path}",
            405: f"{request.method} is not allowed here",
        }
        told = reply(Refused(error.status_code, messages.get(error.status_code, str(error.detail))))
        told.headers.update(error.headers or {})
        return told

    async def other(request: Request, error: Exception) -> JSONResponse:
        return reply(refusal(error))

    app.add_exception_handler(RequestValidationError, wrong_body)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(UserError, other)
    app.add_exception_handler(Refused, other)
    app.add_exception_handler(Exception, other)
