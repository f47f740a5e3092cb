"""What memory.py measures, and the marks that it is held to."""

from __future__ import annotations

import dataclasses

from settings import SMALLEST, Setting

MOBILENET, PROXYLESS = "MobileNetV2-1.0@224", "ProxylessNAS-Mobile@224 batch"
PROXYLESS_GROUP = "ProxylessNAS-Mobile@224 group"
_CLASSES = {MOBILENET: 10, PROXYLESS: 102, PROXYLESS_GROUP: 102}


@dataclasses.dataclass(frozen=True)
class Row:
    """A setting and what it may need at most: arenas of stock inference, and megabytes of the process's growth."""

    setting: Setting
    ratio_mark: float | None = None
    growth_mark: float | None = None


def _setting(network: str, method: str, kernels: str = "builtin", **options) -> Setting:
    return Setting(network, method, kernels, classes=_CLASSES[network], **options)


def _rows():
    bias, both, by_one = "bias", "lite_residual+bias", {"batch_size": 8, "micro_batch": 1}
    for network in (MOBILENET, PROXYLESS):
        yield Row(_setting(network, bias), ratio_mark=1.35)
        yield Row(_setting(network, bias, budget=1.1), ratio_mark=1.1)
        yield Row(_setting(network, both), ratio_mark=1.6)
        yield Row(_setting(network, both, budget=1.25), ratio_mark=1.25)
        yield Row(_setting(network, "full"))
    yield Row(_setting(MOBILENET, bias, **by_one))
    yield Row(_setting(MOBILENET, bias, "xnnpack"))
    yield Row(_setting(MOBILENET, bias, "xnnpack", **by_one), growth_mark=65)
    for network, mark in ((PROXYLESS, 42), (PROXYLESS_GROUP, 48)):
        for budget in (None, 2.5, SMALLEST):
            yield Row(_setting(network, both, **by_one, budget=budget), growth_mark=mark)
        yield Row(_setting(network, "full", **by_one))
        for budget in (None, SMALLEST):
            yield Row(_setting(network, both, "xnnpack", **by_one, budget=budget))
        yield Row(_setting(network, "full", "xnnpack", **by_one))


ROWS = tuple(_rows())
