"""Access to the embedded AWS: its IAM decides, and who called what is recorded.

The keys of a user that was created there, or of a role that was assumed there, may do what the policies
of that identity allow, see :mod:`.iam`. All other keys are the account's own, and may do everything; so
may sessions of a role that was never created.

moto can enforce policies too, but it ignores most conditions, takes the batches of SQS for actions of
their own, and knows the resources of neither CloudWatch Logs nor DeleteObjects. So it refuses what AWS
allows, and the other way round.
"""

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.access_control import CreateAccessKeyFailure, IAMPolicy, create_access_key
from moto.iam.exceptions import NotFoundException

from infra_scripts.embedded import calls, s3_calls
from infra_scripts.embedded.calls import Call, Permission, Request, UnknownCallError
from infra_scripts.embedded.iam import Document, allows
from infra_scripts.stack import Place

PARTITION = "aws"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a request is signed by, and for which region and service."""

    key: str
    region: str
    service: str


class Access:
    """A WSGI application in front of that of the embedded AWS.

    Without ``record`` it touches no request of the account's own keys. ``record`` is a file that gets a
    JSON object for each call that differs from those before: caller, operation, permissions, status.
    """

    def __init__(self, application: WSGIApplication, record: Path | None = None) -> None:
        self._application = application
        self._record = record
        self._recorded: set[str] = set()
        self._recording = Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        caller = _caller(environ)
        if caller is None:
            return self._application(environ, start_response)
        identity = _identity(caller, environ)
        if identity is None and self._record is None:
            return self._application(environ, start_response)
        request = _request(environ, caller)
        call = _call(request, Place(PARTITION, caller.region, DEFAULT_ACCOUNT_ID))
        status, headers, body = self._answer(environ, request, call, identity)
        self._note(caller, call, status)
        start_response(status, headers)
        return body

    def _answer(
        self, environ: WSGIEnvironment, request: Request, call: Call, identity: "Identity | None"
    ) -> "Answer":
        if identity and (missing := identity.lacks(call.permissions)):
            return _refusal(request, identity.message(missing))
        begun: list[Any] = []

        def begin(*given: Any) -> Callable[[bytes], object]:
            begun[:] = given
            return _no_writing

        body = self._application(environ, begin)
        status, headers = begun[:2]
        if status.startswith("404") and identity and (missing := identity.lacks(call.if_missing)):
            return _refusal(request, identity.message(missing))
        return status, headers, body

    def _note(self, caller: Caller, call: Call, status: str) -> None:
        if self._record is None:
            return
        permissions = [*call.permissions, *(call.if_missing if status.startswith("404") else ())]
        noted = {
            "caller": caller.key,
            "operation": call.operation,
            "permissions": [asdict(each) for each in permissions],
            "status": int(status[:3]),
        }
        line = json.dumps(noted)
        with self._recording:
            if line not in self._recorded:
                self._recorded.add(line)
                with self._record.open("a", encoding="utf-8") as file:
                    file.write(f"{line}\n")


Answer = tuple[str, list[tuple[str, str]], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Identity:
    """A user or a role of the embedded IAM, and its policies."""

    arn: str
    policies: Sequence[Document]

    def lacks(self, permissions: Iterable[Permission]) -> Permission | None:
        """The first that the policies do not allow."""
        for each in permissions:
            if not allows(self.policies, each.action, each.resource, dict(each.context)):
                return each
        return None

    def message(self, missing: Permission) -> str:
        """What AWS says without a permission."""
        return (
            f"User: {self.arn} is not authorized to perform: {missing.action} on resource: "
            f"{missing.resource} because no identity-based policy allows the {missing.action} action"
        )


def _caller(environ: WSGIEnvironment) -> Caller | None:
    """None for a request that is not signed."""
    signed = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition(",")[0]
    if not signed and "X-Amz-Credential=" in environ.get("QUERY_STRING", ""):
        signed = parse_qs(environ["QUERY_STRING"])["X-Amz-Credential"][0]
    scope = signed.split("/")
    return Caller(scope[0], scope[2], scope[3]) if len(scope) == 5 else None


def _identity(caller: Caller, environ: WSGIEnvironment) -> Identity | None:
    """None for the account itself."""
    token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN")
    headers = {"X-Amz-Security-Token": token} if token else {}
    try:
        found: Any = create_access_key(DEFAULT_ACCOUNT_ID, PARTITION, caller.key, headers)
        policies = found.collect_policies()
    except (
        CreateAccessKeyFailure,
        NotFoundException,
    ):  # moto lets assume a role that does not exist
        return None
    return Identity(found.arn, [IAMPolicy(each)._policy_json for each in policies])


def _request(environ: WSGIEnvironment, caller: Caller) -> Request:
    """The request; its body can be read again."""
    body = environ["wsgi.input"].read()
    environ["wsgi.input"] = io.BytesIO(body)
    path, _, query = environ["REQUEST_URI"].partition("?")
    headers: Mapping[str, str] = {
        name.removeprefix("HTTP_").lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    return Request(caller.service, environ["REQUEST_METHOD"], path, query, headers, body)


def _call(request: Request, place: Place) -> Call:
    try:
        of_s3 = request.service == "s3"
        return s3_calls.call_of(request, place) if of_s3 else calls.call_of(request, place)
    except UnknownCallError as error:
        return Call(f"unknown: {error}", (Permission(f"unknown: {error}", "*"),))


def _refusal(request: Request, message: str) -> Answer:
    """A response that says no, as the protocol of the service has it."""
    kind, status, code = "text/xml", "403 Forbidden", "AccessDenied"
    if request.headers.get("smithy-protocol") == "rpc-v2-cbor":
        body = _cbor({"__type": "AccessDeniedException", "message": message})
        kind, status = "application/cbor", "400 Bad Request"
    elif "x-amz-target" in request.headers:
        body = json.dumps({"__type": "AccessDeniedException", "message": message}).encode()
        kind, status = "application/x-amz-json-1.0", "400 Bad Request"
    else:
        if request.service == "ec2":
            code = "UnauthorizedOperation"
        inner = f"<Code>{code}</Code><Message>{message}</Message>"
        body = {
            "s3": f"<Error>{inner}</Error>",
            "ec2": f"<Response><Errors><Error>{inner}</Error></Errors></Response>",
        }.get(request.service, f"<ErrorResponse><Error>{inner}</Error></ErrorResponse>").encode()
    if request.method == "HEAD":
        body = b""
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    if kind == "application/cbor":
        headers.append(("smithy-protocol", "rpc-v2-cbor"))
    return status, headers, [body]


def _cbor(members: Mapping[str, str]) -> bytes:
    """A map of fewer than 24 texts (RFC 8949)."""
    texts = [each.encode() for pair in members.items() for each in pair]
    return bytes([0xA0 + len(members)]) + b"".join(
        b"\x79" + len(each).to_bytes(2, "big") + each for each in texts
    )


def _no_writing(data: bytes) -> None:
    raise RuntimeError("moto returns its responses, it does not write them")
