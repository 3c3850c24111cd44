"""Errors as OpenAI's API words them: {"error": {"message", "type", "param", "code"}}."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException


class ApiError(ValueError):
    """A request that gets an answer other than 200."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        """The JSON that the client gets."""
        return {"error": {"message": str(self), "type": _type(self.status), "param": self.param, "code": self.code}}


def _type(status: int) -> str:
    if status in (401, 403):
        return "authentication_error"
    return "server_error" if status >= 500 else "invalid_request_error"


def answer_errors_as_openai(app: FastAPI) -> None:
    """Every error leaves in OpenAI's form, whoever raised it."""

    @app.exception_handler(ApiError)
    async def api_error(_: Request, error: ApiError) -> JSONResponse:
        headers = {"retry-after": "1"} if error.status == 503 else {}
        return JSONResponse(error.body(), error.status, headers)

    @app.exception_handler(RequestValidationError)
    async def validation(_: Request, error: RequestValidationError) -> JSONResponse:
        found = _validation_error(error)
        return JSONResponse(found.body(), found.status)

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        found = ApiError(error.status_code, str(error.detail))
        return JSONResponse(found.body(), found.status, error.headers)

    @app.exception_handler(Exception)
    async def unexpected(_: Request, __: Exception) -> JSONResponse:
        found = ApiError(500, "the server failed; see its log")
        return JSONResponse(found.body(), found.status)


def _validation_error(error: RequestValidationError) -> ApiError:
    """The first thing wrong with a request's body, in words."""
    first = error.errors()[0]
    original = first.get("ctx", {}).get("error")
    if isinstance(original, ApiError):
        return original
    place = ".".join(str(part) for part in first["loc"][1:] if not str(part).startswith(("function-", "constrained-")))
    if first["type"] == "extra_forbidden":
        return ApiError(400, f"unknown parameter {place!r}", param=place, code="unknown_parameter")
    if first["type"] == "json_invalid":
        return ApiError(
            400, f"the body is not valid JSON: {first.get('ctx', {}).get('error', '')}", code="invalid_json"
        )
    if not place:
        return ApiError(400, "the body must be a JSON object, sent with Content-Type: application/json")
    return ApiError(400, f"{place}: {first['msg']}", param=place, code="invalid_value")
