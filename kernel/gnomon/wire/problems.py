"""Errors on the wire: RFC 9457 problems, and the kinds of problem that a server reports.

A problem's `type` is a URI reference to a documentation page that the server itself serves, such as
`/docs/problems#unknown-job` (below its `base_path`). The fragment names the kind. Clients compare the kind; `title` and
`detail` are for people and may change.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from gnomon.domain.execution import Status

PAGE: Final = "/docs/problems"
"""The page that describes every kind, relative to the server's `base_path`."""

Place = Literal["method", "path", "query", "header", "body"]


class Culprit(msgspec.Struct, frozen=True, kw_only=True):
    """One invalid part of a request: its place, its name and what is wrong with it."""

    place: Place = msgspec.field(name="in")
    name: str
    detail: str


class ProblemKind(msgspec.Struct, frozen=True):
    """A kind of problem: the fragment of its `type`, the HTTP status and title it is reported with, and its meaning."""

    name: str
    status: int
    title: str
    meaning: str = ""

    @property
    def type(self) -> str:
        """The `type` of its problems, without the server's `base_path`."""
        return f"{PAGE}#{self.name}" if self.name else "about:blank"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A problem as defined by RFC 9457. `type` names its kind; `errors` lists the invalid parts of the request.

    `execution_status` is present where a run is in the wrong state for a request, and `job_id`, `waiting` and
    `queue_limit` where the queue of a job is full.
    """

    type: str = "about:blank"
    title: str = ""
    status: int
    detail: str = ""
    errors: list[Culprit] = []
    execution_status: Status | msgspec.UnsetType = msgspec.UNSET
    job_id: str | msgspec.UnsetType = msgspec.UNSET
    waiting: int | msgspec.UnsetType = msgspec.UNSET
    queue_limit: int | msgspec.UnsetType = msgspec.UNSET

    @property
    def kind(self) -> str:
        """The name of its kind; empty for a problem that no Gnomon server defines."""
        page, _, name = self.type.rpartition("#")
        return name if page.endswith(PAGE) else ""

    def is_a(self, kind: ProblemKind) -> bool:
        """Whether the problem is of this kind."""
        return self.kind == kind.name


INVALID_PARAMETER = ProblemKind(
    "invalid-parameter",
    400,
    "Invalid parameter",
    "A query parameter or header does not exist, is given twice, is missing or has a value that is not valid. `errors` "
    "names each of them.",
)
TOKEN_IN_ADDRESS = ProblemKind(
    "token-in-address",
    400,
    "Token in the address",
    "The address contains a token. Logs and browser histories keep addresses: send `Authorization: Bearer TOKEN`, and "
    "replace the token that was exposed.",
)
MALFORMED_REQUEST = ProblemKind(
    "malformed-request",
    400,
    "Malformed request",
    "The request is not valid HTTP, has a line longer than 32 KiB, or has a body that is not valid JSON.",
)
AUTHENTICATION_REQUIRED = ProblemKind(
    "authentication-required",
    401,
    "Authentication required",
    "The request carries no token and no login cookie. Send `Authorization: Bearer TOKEN`, or log in.",
)
INVALID_TOKEN = ProblemKind(
    "invalid-token",
    401,
    "Invalid token",
    "The token is not one of `[[plugins.web.tokens]]`, or the Authorization header does not use the Bearer scheme.",
)
EXPIRED_TOKEN = ProblemKind(
    "expired-token",
    401,
    "Expired token",
    "The token was valid until the time in its key `expires`, which `detail` repeats. Ask for a new one.",
)
SIGN_IN_FAILED = ProblemKind(
    "sign-in-failed",
    401,
    "Single sign-on failed",
    "The provider refused the login, its token does not hold, or the answer belongs to a login that this browser has "
    "not begun. Log in again.",
)
INSUFFICIENT_ROLE = ProblemKind(
    "insufficient-role",
    403,
    "Insufficient role",
    "The call needs a higher role than the token has: viewer < operator < admin.",
)
NO_ROLE_GRANTED = ProblemKind(
    "no-role-granted",
    403,
    "No role granted",
    "The provider knows the user, and `roles` of `[plugins.web.oidc]` grants no role for the values of the claim, "
    "which `detail` has.",
)
FORWARDED_REQUEST = ProblemKind(
    "forwarded-request",
    403,
    "Forwarded request",
    "A proxy sent the request to a server that has no tokens and serves its own machine only. Configure "
    "`[[plugins.web.tokens]]`, and `trusted_proxies` of `[plugins.web]`.",
)
FOREIGN_ORIGIN = ProblemKind(
    "foreign-origin",
    403,
    "Foreign origin",
    "A page of another origin sent the request. `allowed_origins` of `[plugins.web]` lists the origins that may act.",
)
OUTSIDE_OF_SCOPE = ProblemKind(
    "outside-of-scope",
    403,
    "Outside of the token's scope",
    "The token is limited to some jobs, and the call is about all of them or about the server.",
)
ARGUMENT_NOT_ACCEPTED = ProblemKind(
    "argument-not-accepted",
    403,
    "Argument not accepted",
    "The job lets no command set this argument: `overrides` of the job lists those that may be set. `errors` names it.",
)
FUNCTION_NOT_ALLOWED = ProblemKind(
    "function-not-allowed",
    403,
    "Function not allowed",
    "The job names a function that orders from outside may not name. `allow_functions` of `[kernel]` lists those that "
    "they may; `func` may also be the id of a job that the deployment declares.",
)
UNKNOWN_PATH = ProblemKind("unknown-path", 404, "Unknown path", "The server has no call at this path.")
UNKNOWN_JOB = ProblemKind("unknown-job", 404, "Unknown job", "No job has this id.")
UNKNOWN_EXECUTION = ProblemKind("unknown-execution", 404, "Unknown execution", "No execution has this id.")
UNKNOWN_ALERT = ProblemKind("unknown-alert", 404, "Unknown alert", "No alert has this id.")
UNKNOWN_PAST = ProblemKind(
    "unknown-past",
    404,
    "Unknown past",
    "The log does not know this time: it lies before its first event, or in the future.",
)
UNKNOWN_TASK = ProblemKind("unknown-task", 404, "Unknown task", "No execution and no job has this id.")
UNKNOWN_SESSION = ProblemKind("unknown-session", 404, "Unknown login", "No open login has this id.")
METHOD_NOT_ALLOWED = ProblemKind(
    "method-not-allowed",
    405,
    "Method not allowed",
    "The path exists but does not support this method; `Allow` lists those it does.",
)
BODY_TIMEOUT = ProblemKind(
    "body-timeout", 408, "Body not received in time", "The body did not arrive within `timeout` of `[plugins.web]`."
)
EXECUTION_OVER = ProblemKind(
    "execution-over",
    409,
    "Execution is over",
    "The call is for runs that have not ended. `execution_status` is how this one ended; nothing was changed.",
)
EXECUTION_RUNNING = ProblemKind(
    "execution-running",
    409,
    "Execution is not over",
    "The call is for runs that have ended. `execution_status` is the state of this one; wait for its end or cancel it.",
)
JOB_EXISTS = ProblemKind(
    "job-exists", 409, "Job exists", "There is a job with this id. Choose another id, or replace the job with PUT."
)
JOB_DEFINED_ELSEWHERE = ProblemKind(
    "job-defined-elsewhere",
    409,
    "Job is defined elsewhere",
    "The job is defined in a config, in code or by a plugin, which `detail` names: change it there.",
)
JOB_CHANGED = ProblemKind(
    "job-changed",
    412,
    "Job was changed",
    "The job has another version than `If-Match` names: someone changed it in between. Read it again, and repeat the "
    "change.",
)
BODY_TOO_LARGE = ProblemKind(
    "body-too-large", 413, "Body too large", "The body is larger than `body_limit` of `[plugins.web]`."
)
UNSUPPORTED_MEDIA_TYPE = ProblemKind(
    "unsupported-media-type", 415, "Unsupported media type", "The body must be `application/json`."
)
UNKNOWN_HOST = ProblemKind(
    "unknown-host",
    421,
    "Unknown host name",
    "The server does not answer to the name in the Host header. `allowed_hosts` of `[plugins.web]` lists its names.",
)
INVALID_BODY = ProblemKind(
    "invalid-body",
    422,
    "Invalid body",
    "The body is valid JSON with keys or values that do not fit. `errors` names each of them.",
)
INVALID_ARGUMENTS = ProblemKind(
    "invalid-arguments", 422, "Invalid arguments", "The job's function does not accept these arguments."
)
INVALID_JOB = ProblemKind(
    "invalid-job", 422, "Invalid job", "The keys of the job are not valid. `errors` names each of them."
)
INVALID_ORDERS = ProblemKind(
    "invalid-orders",
    422,
    "Invalid orders",
    "Some orders of a list are not valid, so none was accepted. `errors` names them, such as `orders[3].kwargs.day`.",
)
IDEMPOTENCY_KEY_REUSED = ProblemKind(
    "idempotency-key-reused",
    422,
    "Idempotency key was used for another request",
    "The same `Idempotency-Key` came with another job, other arguments or other options before; `detail` names the "
    "run. Choose a key for each request, and repeat a request unchanged. The keys of two actors are apart.",
)
TOO_MANY_FAILED_LOGINS = ProblemKind(
    "too-many-failed-logins",
    429,
    "Too many failed logins",
    "This address sent too many wrong tokens. `Retry-After` is the number of seconds to wait.",
)
QUEUE_FULL = ProblemKind(
    "queue-full",
    429,
    "Queue is full",
    "As many runs of the job wait as its `queue_limit` allows; nothing was recorded. Repeat the request after "
    "`Retry-After`, which is safe with an Idempotency-Key. `waiting` and `queue_limit` are the numbers.",
)
TOO_MANY_READS = ProblemKind(
    "too-many-reads",
    429,
    "Too many reads",
    "The caller has many searches (`q`) and deep pages (`offset`) in progress. Wait for some of them, and use `cursor` "
    "for deep pages.",
)
INTERNAL_ERROR = ProblemKind(
    "internal-error", 500, "Internal error", "A defect of the server. Its log has the traceback."
)
PLUGIN_FAILED = ProblemKind(
    "plugin-failed",
    500,
    "Plugin failed",
    "A plugin that contributed this call failed. `detail` names the plugin; the log has the traceback.",
)
UNAVAILABLE = ProblemKind(
    "unavailable",
    503,
    "Unavailable",
    "The store cannot be read or written now, or the kernel is stopping. Repeat the request after `Retry-After`.",
)
NO_LEADER = ProblemKind(
    "no-leader",
    503,
    "No kernel leads",
    "The process follows, and no kernel leads the log, so nothing was done. Repeat the request after `Retry-After`.",
)
CANNOT_STEP_DOWN = ProblemKind(
    "cannot-step-down",
    409,
    "Cannot step down",
    "The kernel that leads keeps the log: no other kernel could lead, or it would not follow. `detail` says why.",
)
LEADER_ONLY = ProblemKind(
    "leader-only",
    503,
    "Answered by the leader only",
    "A plugin that runs with the kernel that leads contributes this call, and the process follows. `detail` names the "
    "process that leads.",
)
ORDER_OUTCOME_UNKNOWN = ProblemKind(
    "order-outcome-unknown",
    504,
    "Outcome unknown",
    "The kernel that leads received the request and ended, or did not answer. It may have taken effect: look before "
    "repeating it, or repeat it with the same Idempotency-Key.",
)
PROVIDER_UNAVAILABLE = ProblemKind(
    "provider-unavailable",
    503,
    "Provider unavailable",
    "The provider of single sign-on cannot be reached, or does not answer as OpenID Connect requires.",
)
NOT_CONFIRMED = ProblemKind(
    "not-confirmed",
    503,
    "Not confirmed in time",
    "The store did not confirm within `timeout`. The request may still take effect: look before repeating it, or "
    "repeat it with the same Idempotency-Key.",
)
TOO_MANY_CONNECTIONS = ProblemKind(
    "too-many-connections",
    503,
    "Too many connections",
    "`max_connections` WebSockets of `[plugins.web]` are open, the server has as many TCP connections as it may have "
    "and all are busy, or it is stopping.",
)

KINDS: Final = (
    INVALID_PARAMETER,
    TOKEN_IN_ADDRESS,
    MALFORMED_REQUEST,
    AUTHENTICATION_REQUIRED,
    INVALID_TOKEN,
    EXPIRED_TOKEN,
    SIGN_IN_FAILED,
    INSUFFICIENT_ROLE,
    NO_ROLE_GRANTED,
    FORWARDED_REQUEST,
    FOREIGN_ORIGIN,
    OUTSIDE_OF_SCOPE,
    ARGUMENT_NOT_ACCEPTED,
    FUNCTION_NOT_ALLOWED,
    UNKNOWN_PATH,
    UNKNOWN_JOB,
    UNKNOWN_EXECUTION,
    UNKNOWN_ALERT,
    UNKNOWN_PAST,
    UNKNOWN_TASK,
    UNKNOWN_SESSION,
    METHOD_NOT_ALLOWED,
    BODY_TIMEOUT,
    EXECUTION_OVER,
    EXECUTION_RUNNING,
    JOB_EXISTS,
    JOB_DEFINED_ELSEWHERE,
    JOB_CHANGED,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    UNKNOWN_HOST,
    INVALID_BODY,
    INVALID_ARGUMENTS,
    INVALID_JOB,
    INVALID_ORDERS,
    IDEMPOTENCY_KEY_REUSED,
    TOO_MANY_FAILED_LOGINS,
    QUEUE_FULL,
    TOO_MANY_READS,
    INTERNAL_ERROR,
    PLUGIN_FAILED,
    UNAVAILABLE,
    NO_LEADER,
    CANNOT_STEP_DOWN,
    LEADER_ONLY,
    ORDER_OUTCOME_UNKNOWN,
    PROVIDER_UNAVAILABLE,
    NOT_CONFIRMED,
    TOO_MANY_CONNECTIONS,
)
"""Every kind of problem, in the order of the documentation page."""
