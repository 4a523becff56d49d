"""The API of the scheduler of TradingAgents-CN: its parameters, statuses, messages and shapes of answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aiohttp import hdrs, web

from gnomon import UnknownJobError
from gnomon.wire.problems import UNKNOWN_JOB
from gnomon.wire.records import HistoryPage, RecordPage
from gnomon.wire.statistics import Counts, JobStatistics
from gnomon_web.dialect import tradingagents_login
from gnomon_web.dialect.language import Message, prefers_chinese
from gnomon_web.dialect.task_feed import serve_task
from gnomon_web.dialect.tradingagents_answers import STATUSES, translate
from gnomon_web.errors import ApiError
from gnomon_web.http.dialect import Dialect, Reply
from gnomon_web.http.routes import Route

_JOB = "/scheduler/jobs/{}"
_RUN = "/scheduler/executions/{}"
_MESSAGES: Final[dict[tuple[str, str], Message]] = {
    ("GET", "/scheduler/jobs"): Message("获取到 {n} 个定时任务", "{n} jobs"),
    ("GET", _JOB): Message("获取任务详情成功", "Job found"),
    ("POST", f"{_JOB}/pause"): Message("任务已暂停", "Job paused"),
    ("POST", f"{_JOB}/resume"): Message("任务已恢复", "Job resumed"),
    ("POST", f"{_JOB}/trigger"): Message("任务已触发", "Job triggered"),
    ("POST", "/scheduler/trigger"): Message("任务已触发", "Job triggered"),
    ("PUT", f"{_JOB}/metadata"): Message("任务信息已更新", "Job details updated"),
    ("GET", f"{_JOB}/history"): Message("获取到 {n} 条操作记录", "{n} actions"),
    ("GET", "/scheduler/history"): Message("获取到 {n} 条操作记录", "{n} actions"),
    ("GET", "/scheduler/executions"): Message("获取到 {n} 条执行记录", "{n} executions"),
    ("GET", "/scheduler/logs"): Message("获取到 {n} 条执行记录", "{n} executions"),
    ("GET", f"{_JOB}/executions"): Message("获取到 {n} 条执行记录", "{n} executions"),
    ("GET", f"{_JOB}/execution-stats"): Message("获取统计信息成功", "Statistics found"),
    ("GET", "/scheduler/stats"): Message("获取统计信息成功", "Statistics found"),
    ("GET", "/scheduler/health"): Message("调度器状态已获取", "Health checked"),
    ("POST", "/auth/login"): Message("登录成功", "Logged in"),
    ("POST", "/auth/refresh"): Message("Token刷新成功", "Login is valid"),
    ("POST", "/auth/logout"): Message("登出成功", "Logged out"),
    ("GET", "/auth/me"): Message("获取用户信息成功", "User found"),
    ("POST", f"{_RUN}/cancel"): Message("已请求取消, 任务将在下次检查时停止", "Cancellation requested"),
    ("POST", f"{_RUN}/mark-failed"): Message("已标记为失败状态", "Execution marked as failed"),
    ("DELETE", _RUN): Message("执行记录已删除", "Execution record deleted"),
}
_LISTS_OF_STATUSES = frozenset({"/scheduler/executions", "/scheduler/logs", f"{_JOB}/executions"})


class TradingAgents(Dialect):
    """What the clients of TradingAgents-CN expect."""

    is_lenient = True

    def routes(self) -> Sequence[Route]:
        """Return the WebSocket of a task, and the calls with which its clients log in."""
        return (
            *tradingagents_login.routes(),
            Route(
                method="GET",
                path="/ws/task/{task_id}",
                handler=serve_task,
                role="viewer",
                kind="websocket",
                tag="tradingagents",
                errors=(503,),
                scoped=True,
            ),
        )

    def parameters(self, route: Route, given: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Expand a status of the old application to ours: a failed run may be one that was cancelled."""
        if route.place[1] not in _LISTS_OF_STATUSES:
            return given
        return [(name, _expanded(text) if name == "status" else text) for name, text in given]

    def reply(self, request: web.Request, route: Route, reply: Reply) -> Reply:
        """Translate the answer; every success is a 200, with a message in the language of the client."""
        message = _MESSAGES.get(route.place)
        is_chinese = prefers_chinese(request.headers.get(hdrs.ACCEPT_LANGUAGE))
        return Reply(
            body=translate(reply.body),
            status=200 if reply.status < 300 else reply.status,
            message=reply.message if message is None else message.text(reply.body, is_chinese=is_chinese),
        )

    def instead_of(self, error: Exception, request: web.Request, route: Route) -> Any:
        """Answer questions about an unknown job with zeros and empty lists, as the old application does."""
        is_unknown = isinstance(error, UnknownJobError) or (
            isinstance(error, ApiError) and error.problem.type == UNKNOWN_JOB.type
        )
        if not is_unknown or route.method != "GET":
            return None
        match route.place[1].removeprefix(_JOB):
            case "/execution-stats":
                counts: dict[str, Any] = dict.fromkeys(Counts.__struct_fields__, 0)
                return JobStatistics(job_id=request.match_info["job_id"], **counts)
            case "/history":
                return HistoryPage(history=[], total=0, **_page(request))
            case "/executions":
                return RecordPage(items=[], total=0, **_page(request))
        return None


def _expanded(text: str) -> str:
    words = text.split(",")
    return ",".join(dict.fromkeys(ours for word in words for ours in STATUSES.get(word, (word,))))


def _page(request: web.Request) -> dict[str, Any]:
    """Return the page that was asked for; its parameters have been checked."""
    return {"limit": int(request.query.get("limit") or 50), "offset": int(request.query.get("offset") or 0)}
