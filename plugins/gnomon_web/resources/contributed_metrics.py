"""The hook `register_metrics`, by which other plugins add gauges to `GET /metrics`.

    class Reports:
        @hookimpl(optionalhook=True)
        def register_metrics(self, register):
            register("reports_open", "Reports that wait", ("kind",), self.count)

        def count(self) -> dict[tuple[str, ...], float]: ...

`read` is called at each scrape, on the event loop of the server, and must not block it: it returns the value for each
combination of the labels. What it raises is logged, and the metric is left out of that answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from gnomon import KernelApi
from gnomon.logs import get_logger
from gnomon.safe_text import safe_str

log = get_logger("gnomon.web")

HOOK = "register_metrics"
Samples = Mapping[tuple[str, ...], float]


class ContributedGauge(Collector):
    """A gauge of a plugin."""

    def __init__(
        self, plugin: str, name: str, documentation: str, labels: Sequence[str], read: Callable[[], Samples]
    ) -> None:
        self._plugin = plugin
        self._read = read
        self._of = name, documentation, list(labels)
        self._family()  # whose names are checked here

    def describe(self) -> Iterable[Metric]:
        """Return the names, so that the registry refuses one that is taken."""
        return [self._family()]

    def collect(self) -> Iterable[Metric]:
        """Read the values."""
        family = self._family()
        try:
            for labels, value in self._read().items():
                family.add_metric([str(label) for label in labels], float(value))
        except Exception as exc:  # noqa: BLE001 - it is the code of a plugin, and the other metrics are wanted
            log.error("metric of a plugin failed", plugin=self._plugin, metric=self._of[0], problem=safe_str(exc))
            return []
        return [family]

    def _family(self) -> GaugeMetricFamily:
        name, documentation, labels = self._of
        return GaugeMetricFamily(name, documentation, labels=labels)


def add_contributed_metrics(kernel: KernelApi, registry: CollectorRegistry) -> None:
    """Add the metrics of every plugin; PluginError names the plugin whose metric cannot be served."""
    for plugin in kernel.plugins:
        plugin.contribute(HOOK, _register(registry, plugin.name))


def _register(registry: CollectorRegistry, plugin: str) -> Callable[..., None]:
    def register(name: str, documentation: str, labels: Sequence[str], read: Callable[[], Samples]) -> None:
        registry.register(ContributedGauge(plugin, name, documentation, labels, read))

    return register
