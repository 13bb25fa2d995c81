"""Errors in OpenAI's form: what is wrong, in which field, and a code for programs."""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from gptcore.errors import Unavailable, UserError, known_names

# ASCII alone: what a client has sent may hold half of a surrogate pair, which is no UTF-8
ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
CODES = {400: "invalid_json", 404: "not_found", 405: "method_not_allowed"}


class Refusal(Exception):
    def __init__(
        self, status: int, message: str, code: str, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.headers = status, message, code, param, headers

    def body(self) -> dict[str, Any]:
        kinds = {401: "authentication_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> "Json":
        return Json(self.body(), self.status, self.headers)


class Json(JSONResponse):
    def render(self, content: Any) -> bytes:
        return ENCODER.encode(content).encode()


class ErrorFields(BaseModel):
    message: str
    type: str
    param: str | None
    code: str


class Error(BaseModel):
    """What every answer with a status of 400 and more has."""

    error: ErrorFields


def install(app: FastAPI) -> None:
    app.exception_handler(Refusal)(_refused)
    app.exception_handler(UserError)(_mistaken)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_other)
    app.exception_handler(Exception)(_failed)


async def _refused(request: Request, error: Refusal) -> Response:
    return error.response()


async def _mistaken(request: Request, error: UserError) -> Response:
    status, code = (503, "unavailable") if isinstance(error, Unavailable) else (400, "invalid_value")
    return Refusal(status, str(error), code).response()


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    place = [str(each) for each in first["loc"][1:]]
    field = place[0] if place else None
    if first["type"] == "json_invalid":
        said = f"the body is no JSON: {first['ctx']['error']}, at character {first['loc'][1]}"
        return Refusal(400, said, "invalid_json").response()
    known = _fields(request)
    if first["type"] == "extra_forbidden":
        names = known if len(place) == 1 else {}
        return Refusal(
            400, f"there is no field {'.'.join(place)}{known_names(place[-1], names) if names else ''}",
            "unknown_field", field,
        ).response()  # fmt: skip
    if field and sum(each["loc"][1:2] == first["loc"][1:2] for each in error.errors()) > 1 and field in known:
        message = f"{field}: {known[field]}"  # it fits none of several types
    else:
        message = f"{'.'.join(place) or 'the body'}: {first['msg'][:1].lower()}{first['msg'][1:]}"
    return Refusal(400, message, "invalid_value", field).response()


def _fields(request: Request) -> dict[str, str]:
    """The fields that the route takes, with their descriptions."""
    body = getattr(request.scope.get("route"), "body_field", None)
    kind = body.field_info.annotation if body else None
    return {name: each.description or "" for name, each in getattr(kind, "model_fields", {}).items()}


async def _other(request: Request, error: HTTPException) -> Response:
    code = CODES.get(error.status_code, "error")
    return Refusal(error.status_code, str(error.detail), code, headers=error.headers).response()


async def _failed(request: Request, error: Exception) -> Response:
    return Refusal(500, "the server has failed; its log says how", "internal_error").response()
