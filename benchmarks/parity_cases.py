"""The rows of export_parity.py: what is trained, and how."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import keras
import networks
from litert import KERNELS

from tinytl_keras import METHODS

NETWORKS = (
    "MobileNetV2-0.35@96",
    "MobileNetV2-1.0@128",
    "MobileNetV2-0.5@75x91",
    networks.PLAIN,
    "ProxylessNAS-Mobile@96 batch",
    "ProxylessNAS-Mobile@96 group",
)
BATCH_SIZES = (1, 3)
MICRO = "micro"  # TFLite Micro's only kernels, beside LiteRT's KERNELS
MICRO_METHODS = ("bias", "lite_residual+bias")

OPTIMIZERS = {
    "SGD": keras.optimizers.SGD,
    "momentum": functools.partial(keras.optimizers.SGD, momentum=0.9),
    "Adam": keras.optimizers.Adam,
}
# So large that float32's rounding of a weight is small beside its update, and not so large that the loss explodes:
# networks that are not pretrained have small gradients and, where all weights train, a steep loss.
_RATES = {"SGD": 0.2, "momentum": 0.2, "Adam": 1e-3}
_RATES_OF_FULL = {"SGD": 0.005, "momentum": 0.005, "Adam": 2e-5}


@dataclasses.dataclass(frozen=True)
class Case:
    """`kernels` is one of LiteRT's sets, or `MICRO`."""

    network: str
    method: str
    batch_size: int
    optimizer: str
    kernels: str

    def __str__(self) -> str:
        return f"{self.network} {self.method} {self.optimizer} batch={self.batch_size} {self.kernels}"

    @property
    def learning_rate(self) -> float:
        return (_RATES_OF_FULL if self.method == "full" else _RATES)[self.optimizer]


def all_cases() -> list[Case]:
    """Those of one network, method and batch size stand together: they share a model and its lowering."""
    litert = [Case(*values) for values in itertools.product(NETWORKS, METHODS, BATCH_SIZES, OPTIMIZERS, KERNELS)]
    micro = [Case(network, method, 1, "SGD", MICRO) for network in NETWORKS for method in MICRO_METHODS]
    order = {group: i for i, group in enumerate(dict.fromkeys(map(group_of, litert)))}
    return sorted([*litert, *micro], key=lambda case: order[group_of(case)])  # stable: TFLite Micro's come last


def group_of(case: Case) -> tuple[str, str, int]:
    return case.network, case.method, case.batch_size


def sample_of(cases: list[Case]) -> list[Case]:
    """Every network with every method and every optimizer, once; batch sizes and kernel sets take turns.

    Each optimizer meets every pair of batch size and kernel set. Of TFLite Micro's rows, every network's, with the two
    methods in turn.
    """
    return [case for case in cases if _sampled(case)]


def _sampled(case: Case) -> bool:
    network, method = NETWORKS.index(case.network), METHODS.index(case.method)
    if case.kernels == MICRO:
        return MICRO_METHODS.index(case.method) == network % len(MICRO_METHODS)
    optimizer = list(OPTIMIZERS).index(case.optimizer)
    return (
        case.batch_size == BATCH_SIZES[(network + method) % len(BATCH_SIZES)]
        and case.kernels == list(KERNELS)[(network + optimizer) % len(KERNELS)]
    )
