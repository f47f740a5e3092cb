"""Rows without a label, and logits that are not finite."""

import struct

import numpy as np
import pytest

from tests.micro.bindings import address


def _loss(kernels, function, logits, labels, divisor=0.0):
    dlogits, result = np.full_like(logits, 7), np.zeros(4, np.int32)
    params = struct.pack("<iiff", *logits.shape, 0.0, divisor)
    assert getattr(kernels, function)(params, address(logits), address(labels), address(dlogits), address(result)) == 0
    return dlogits, result[:1].view(np.float32)[0], *map(int, result[1:3]), bool(result[3] & 0xFF)


@pytest.mark.parametrize("function", ["tinytl_sparse_cross_entropy", "tinytl_dense_cross_entropy"])
def test_no_valid_row(kernels, function):
    logits = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    logits[1, 2] = np.nan  # of no consequence: its row does not count
    labels = np.array([-1, 4, 99], np.int32)
    targets = np.zeros((3, 4), np.float32)
    targets[:, 3] = np.nan
    given = labels if "sparse" in function else targets
    dlogits, loss, correct, valid, finite = _loss(kernels, function, logits, given, divisor=8.0)
    assert (loss, correct, valid, finite) == (0, 0, 0, True)
    assert (dlogits == 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_logits_are_seen(kernels, bad):
    logits = np.zeros((2, 3), np.float32)
    logits[1, 0] = bad
    labels = np.array([1, 2], np.int32)
    *_, finite = _loss(kernels, "tinytl_sparse_cross_entropy", logits, labels)
    assert not finite
    *_, finite = _loss(kernels, "tinytl_sparse_cross_entropy", logits, np.array([1, -1], np.int32))
    assert finite


@pytest.mark.parametrize("smoothing, divisor", [(1.0, 0.0), (-0.1, 0.0), (np.nan, 0.0), (0.0, -1.0), (0.0, np.nan)])
def test_refused(kernels, smoothing, divisor):
    arrays = [address(np.zeros(4, np.float32)) for _ in range(4)]
    assert kernels.tinytl_sparse_cross_entropy(struct.pack("<iiff", 1, 4, smoothing, divisor), *arrays) == 3
