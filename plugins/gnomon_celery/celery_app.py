"""The Celery application of kernels and workers: both must agree on the queue, the serialiser and the time limits."""

from __future__ import annotations

from typing import Any

from celery import Celery

from gnomon_celery.config import CeleryConfig


def make_app(config: CeleryConfig, *, sends_only: bool = False) -> Celery:
    """Return the application; it connects on first use. That of a kernel only sends, so each of its replies is due."""
    app = Celery("gnomon", broker=config.broker.reveal(), set_as_current=False)
    app.conf.update(
        task_default_queue=config.queue,
        task_create_missing_queues=True,
        task_queue_max_priority=config.max_priority,
        task_default_queue_type=config.queue_type,
        task_create_missing_queue_type=config.queue_type,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=False,  # the claim and the job's own `retry` decide, not the broker
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=config.timeout.total_seconds(),
        broker_pool_limit=8,
        broker_transport_options=_transport_options(config, sends_only=sends_only),
        worker_hijack_root_logger=False,
        enable_utc=True,
        timezone="UTC",
    )
    return app


def _transport_options(config: CeleryConfig, *, sends_only: bool) -> dict[str, Any]:
    seconds = config.timeout.total_seconds()
    # The kernel tries again itself, and says meanwhile what keeps its runs.
    options: dict[str, Any] = {"max_retries": 1, "interval_start": 0, "interval_step": 0} if sends_only else {}
    if config.is_redis_broker:
        options |= {
            "visibility_timeout": round(config.visibility_timeout.total_seconds()),
            "socket_connect_timeout": seconds,
            "socket_keepalive": True,
        }
        return options | ({"socket_timeout": seconds} if sends_only else {"health_check_interval": 25})
    if config.broker.reveal().startswith(("amqp", "pyamqp")):
        options["confirm_publish"] = True
        if sends_only:  # a consumer reads nothing for as long as its queues are empty
            options |= {"read_timeout": seconds, "write_timeout": seconds}
    return options
