"""The arguments of memory_report, and its report as text, data and picture."""

import builtins
import json

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import layers

import tinytl_keras
from tests.tinytl_keras.models import mobilenet
from tinytl_keras import MemoryReport, memory_report
from tinytl_keras.memory import LiveTensor, Moment


def network(method="bias"):
    return tinytl_keras.convert(mobilenet(), method, num_classes=3)


@pytest.fixture(scope="module", params=["compiled", "paper"])
def report(request):
    return memory_report(network("lite_residual+bias"), 2, accounting=request.param)


def test_the_table_fits_90_columns(report):
    lines = str(report).splitlines()
    assert isinstance(report, MemoryReport)
    assert max(map(len, lines)) <= 90
    assert not any(line.endswith(" ") for line in lines)
    assert any(line.startswith("total") and f"{report.total_bytes:,} bytes" in line for line in lines)
    assert sum(line.startswith("block_") and "stored" not in line and "working" not in line for line in lines) >= 16


def test_json_holds_all_of_it(report):
    data = json.loads(report.to_json())
    assert data["total_bytes"] == report.total_bytes == sum(count for _, count in data["parts"])
    assert data["layers"][0]["reach_bytes"] == report.layers[0].reach_bytes
    assert len(data["moments"]) == len(report.moments)
    assert data["peak_tensors"][0]["shape"] == list(report.peak_tensors[0].shape)


def test_the_plot_shows_what_is_live(report):
    axes = report.plot()
    highest = max(moment.live_bytes for moment in report.moments)
    patches = {patch.get_label(): patch.get_data() for patch in axes.patches if hasattr(patch, "get_data")}
    unit = 1e6 if report.total_bytes >= 1e7 else 1e3
    tops = np.max([np.asarray(data.values) for data in patches.values()], axis=0)
    assert np.allclose(tops, [moment.live_bytes / unit for moment in report.moments])
    assert np.isclose(tops.max(), highest / unit)
    texts = [text.get_text() for text in axes.texts]
    assert any(report.peak_tensors[0].layer in text for text in texts)
    assert ("backward" in texts) == (report.accounting == "compiled")
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    if report.accounting == "compiled":
        assert any(f"{report.arena_bytes / unit:,.2f}" in text for text in legend)
        assert any(f"{report.inference_arena_bytes / unit:,.2f}" in text for text in legend)
    plt.close(axes.figure)


def test_parts_of_a_map_are_one_row():
    """The tensors of one layer for one reason, however many; its gradient is another row."""
    stored, gradient = ("stored", False), ("working", True)
    tensors = [("norm", (1, 4, 4, 3), 192, *stored)] * 3 + [("norm", (1, 4, 4, 1), 64, *gradient)]
    tensors = [("conv", (1, 8, 8, 1), 256, *stored), *tensors, ("tiny", (1,), 4, *stored)]
    peak = tuple(LiveTensor(name, shape, "float32", count, role, back) for name, shape, count, role, back in tensors)
    moments = (Moment("conv", "CONV_2D", 836, 64, 0),)
    report = MemoryReport("net", "compiled", 1, 900, (), 0, 900, 1, 1, (), moments, 1, peak, 900, 900)
    named, rest = report.largest_at_the_peak(3)
    assert [(part.name, part.nbytes) for part in (*named, *rest)] == [
        ("norm, 3 parts", 576), ("conv", 256), ("norm: gradient", 64), ("tiny", 4),
    ]  # fmt: skip
    assert (len(named), len(rest)) == (3, 1)
    lines = [line.split() for line in str(report).splitlines()]
    assert ["norm,", "3", "parts", "0.58", "stored"] in lines
    assert ["conv", "0.26", "stored", "float32", "[1,", "8,", "8,", "1]"] in lines
    axes = report.plot()
    texts = [text.get_text() for text in axes.texts]
    assert "norm, 3 parts" in texts and "conv 1×8×8×1" in texts
    plt.close(axes.figure)


def test_the_plots_texts_do_not_overlap(report):
    figure, axes = plt.subplots(figsize=(12.5, 5), layout="constrained")
    assert report.plot(axes) is axes
    figure.canvas.draw()
    for texts in (axes.texts, [label for label in axes.get_xticklabels() if label.get_text()]):
        boxes = [text.get_window_extent() for text in texts if not text.get_rotation()]
        for i, one in enumerate(boxes):
            assert not any(one.overlaps(other) for other in boxes[:i])
    width, height = figure.canvas.get_width_height()
    for text in axes.texts:
        box = text.get_window_extent()
        assert min(box.x0, box.y0) >= 0 and box.x1 <= width and box.y1 <= height
    plt.close(figure)


def test_plot_without_matplotlib(report, monkeypatch):
    really_import = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return really_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        report.plot()


def test_arguments_that_are_refused():
    model = network()
    with pytest.raises(ValueError, match="`accounting` must be one of .*Received: accounting='exact'"):
        memory_report(model, accounting="exact")
    for batch_size in (0, -1, 1.5, True, "8"):
        with pytest.raises(ValueError, match="`batch_size` must be a whole number from 1"):
            memory_report(model, batch_size)
    with pytest.raises(TypeError, match=r"must be a keras.Model \(Keras 3\)"):
        memory_report("model")
    with pytest.raises(ValueError, match="has no weights yet"):
        memory_report(keras.Sequential([layers.Dense(2)]))
    with pytest.raises(TypeError, match="takes no option 'optimizer'.*accounting='compiled'"):
        memory_report(model, accounting="paper", optimizer="adam")


def test_batch_sizes_of_numpy():
    assert memory_report(network(), np.int64(2), accounting="paper").batch_size == 2
