"""Build the kernel of a deployment."""

from __future__ import annotations

from collections.abc import Iterable

from gnomon.deployment.assembly import Deployment
from gnomon.domain.kernel_health import Role
from gnomon.jobs.job import Job
from gnomon.jobs.registered import RegisteredJob
from gnomon.kernel import Kernel
from gnomon.plugins.plugin_set import PluginSet
from gnomon.ports import Store


def build_kernel(
    deployment: Deployment,
    *,
    store: Store | None = None,
    jobs: Iterable[Job | RegisteredJob] | None = None,
    plugins: PluginSet | None = None,
    keeps_time: bool = True,
    role: Role = "leader",
) -> Kernel:
    """Return a kernel that is not started; arguments replace what the deployment has.

    It does not report failures to `logging`: the commands print them in their own way.
    """
    settings = deployment.config.kernel
    return Kernel(
        store=store or deployment.store,
        jobs=deployment.registered_jobs if jobs is None else jobs,
        plugins=deployment.plugins if plugins is None else plugins,
        timezone=settings.timezone,
        node=settings.node,
        role=role,
        revision=settings.revision,
        max_running=settings.max_running,
        queue_limit=settings.queue_limit,
        groups=deployment.config.groups,
        drain=settings.drain,
        hook_timeout=settings.hook_timeout,
        blocked_loop_after=settings.blocked_loop_after or None,
        arguments_limit=settings.arguments_limit,
        log_lines=settings.log_lines,
        allow_functions=settings.allow_functions,
        keeps_time=keeps_time,
        log_failures=False,
    )
