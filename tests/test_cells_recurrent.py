"""The fused EGRU: the same numbers as the loop of torch's operations, whatever is left out and whoever computes it."""

import dataclasses
import functools
import os
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest
import torch

from hil.cells import EventGRU, Surrogate, recurrent
from hil.errors import ToolError, UsageError
from hil.native import NativeLibrary, Unit

BOTH = pytest.mark.parametrize("form", ["threshold", "value"])
LEVELS = range(len(recurrent.levels()))
THRESHOLDS = (0.0, 0.3, 1.0)
"""From about half of the units speaking to none."""
SHAPES = [(1, 1, 1, 1), (5, 7, 3, 12), (3, 33, 35, 4), (4, 64, 2, 9), (2, 130, 9, 3)]
"""D, H, N, T: single, odd, just over a vector, a panel, a tile or a group of flags."""


def make(inputs, units, threshold, dtype=torch.float64, seed=1, **options):
    """A layer with larger weights than its own, so that many units come near their threshold."""
    generator = torch.Generator().manual_seed(seed)
    layer = EventGRU(inputs, units, gain=2.0, generator=generator, surrogate=Surrogate(3.6, 3.6), **options).to(dtype)
    with torch.no_grad():
        for bias in (layer.bias_ih, layer.bias_hh):
            bias.copy_(torch.randn(3 * units, generator=generator, dtype=torch.float64) / 2)
        layer.threshold.copy_(threshold * (0.5 + torch.rand(units, generator=generator, dtype=torch.float64)))
    return layer


def results(layer, shape, dtype=torch.float64, device="cpu"):
    """y, c, last state, and gradients of all that has one, of a loss that asks for each of them."""
    D, H, N, T = shape
    generator = torch.Generator().manual_seed(2)
    values = [torch.randn(s, generator=generator, dtype=torch.float64) for s in ((T, N, D), (N, H), (N, H))]
    values[2] *= values[2] > 0.5  # events: mostly none
    x, h_0, y_0 = (v.to(device, dtype).requires_grad_() for v in values)
    run = layer.run(x, (h_0, y_0))
    parts = (run.y, run.events, run.c, run.trace, *run.state)
    weights = [torch.randn(p.shape, generator=generator, dtype=torch.float64).to(device, dtype) for p in parts]
    loss = sum((part * weight).sum() for part, weight in zip(parts, weights, strict=True))
    leaves = {"x": x, "h_0": h_0, "y_0": y_0, **dict(layer.named_parameters())}
    gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    named = dict(zip(("y", "events", "c", "trace", "h", "y_last"), parts, strict=True))
    return {name: value.detach().cpu().double() for name, value in (named | gradients).items()}


@functools.cache
def by_the_loop(form, shape, threshold):
    """What is right, in float64; nobody stands so near a threshold that float32 could see it otherwise."""
    layer = make(*shape[:2], threshold, form=form, fused=False)
    expected = results(layer, shape)
    assert (expected["c"] - layer.threshold.detach()).abs().min() > 1e-6
    return expected


@pytest.fixture
def use(monkeypatch):
    """Fix the level and which products are sparse."""

    def fix(**changes):
        real = recurrent.Options
        monkeypatch.setattr(recurrent, "Options", lambda *args, **kw: dataclasses.replace(real(*args, **kw), **changes))

    return fix


def assert_same(got, expected, tolerance):
    for name, value in expected.items():
        scale = max(1.0, value.abs().max().item())
        assert (got[name] - value).abs().max().item() <= tolerance * scale, name


@BOTH
@pytest.mark.parametrize("products", ["by density", "dense", "sparse"])
@pytest.mark.parametrize("level", LEVELS, ids=recurrent.levels())
def test_fused_equals_the_loop(use, form, products, level):
    """Outputs and all gradients, in both precisions, of four activities and five shapes, against float64."""
    use(level=level, products=products)
    activities = []
    for shape in SHAPES:
        for threshold in THRESHOLDS:
            expected = by_the_loop(form, shape, threshold)
            activities.append(expected["events"].mean().item())
            assert_same(results(make(*shape[:2], threshold, form=form), shape), expected, 1e-12)
            single = make(*shape[:2], threshold, torch.float32, form=form)
            assert_same(results(single, shape, torch.float32), expected, 2e-5)
    assert max(activities) > 0.3
    assert min(activities) == 0


@BOTH
def test_threads_change_nothing(form):
    """One, two, and more threads than sequences; the order of sums alone may differ."""
    before = torch.get_num_threads()
    layer, shape = make(5, 40, 0.3, form=form), (5, 40, 7, 6)
    try:
        torch.set_num_threads(1)
        expected = results(layer, shape)
        for threads in (2, 3, 16):
            torch.set_num_threads(threads)
            assert_same(results(layer, shape), expected, 1e-12)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("threshold", {"zoneout": 0.3}),
        ("threshold", {"zoneout": 0.2, "dropconnect": 0.4}),
        ("value", {"dropconnect": 0.4}),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_chance_falls_the_same_way(form, options, training):
    """Zoneout and dropconnect from the same seed, while training and without."""
    shape = (5, 20, 4, 8)
    both = []
    for fused in (False, True):
        layer = make(*shape[:2], 0.2, form=form, fused=fused, **options).train(training)
        torch.manual_seed(3)
        both.append(results(layer, shape))
    assert_same(both[1], both[0], 1e-12)


@BOTH
def test_gradients_that_nobody_asks_for_are_left_out(form):
    """Frozen weights and inputs get none; the others get what they got before."""
    shape = (4, 9, 3, 5)
    layer = make(*shape[:2], 0.2, form=form)
    x = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    layer(x)[0].sum().backward()
    before = layer.bias_hh.grad.clone()
    layer.zero_grad()
    for weight in (layer.weight_ih, layer.weight_hh):
        weight.requires_grad_(False)
    layer(x)[0].sum().backward()
    torch.testing.assert_close(layer.bias_hh.grad, before)
    assert layer.weight_ih.grad is None
    assert layer.weight_hh.grad is None


def test_nothing_hides_a_number_that_is_none():
    """A NaN among the inputs is seen in what follows it, as it is in the loop."""
    shape = (3, 10, 2, 6)
    x = torch.zeros(6, 2, 3)
    x[2, 1, 0] = float("nan")
    for fused in (False, True):
        y, _ = make(*shape[:2], 0.2, torch.float32, fused=fused)(x)
        assert y[:2].isfinite().all()
        assert y[:, 0].isfinite().all()
        assert y[2:, 1].isnan().all()


def test_extreme_inputs_stay_finite():
    """Gates that are wide open or shut: within 1e-6 of the loop, gradients finite."""
    layer = make(1, 4, 0.2, torch.float32)
    x = torch.tensor([-1e30, -300.0, -88.0, -20.0, 0.0, 1e-6, 20.0, 88.0, 300.0, 1e30])[:, None, None].requires_grad_()
    y, _ = layer(x)
    y.sum().backward()
    assert x.grad.isfinite().all()
    layer.fused = False
    torch.testing.assert_close(y, layer(x)[0], rtol=0, atol=1e-6)


def test_a_level_that_is_not_there_is_refused(use):
    use(level=len(LEVELS))
    with pytest.raises(UsageError, match="no level"):
        make(1, 1, 0.2)(torch.zeros(1, 1, 1, dtype=torch.float64))


def test_without_a_library_the_loop_runs_and_says_so_once(monkeypatch):
    """A machine without a compiler: one warning with the reason, the same result."""
    layer, x = make(5, 7, 0.2), torch.ones(4, 2, 5, dtype=torch.float64)
    expected = layer(x)[0]

    class Broken:
        sources = recurrent.RECURRENT.sources

        def ready(self):
            raise ToolError("no C compiler found")

    monkeypatch.setattr(recurrent, "RECURRENT", Broken())
    recurrent._load.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match="no C compiler found"):
            torch.testing.assert_close(layer(x)[0], expected)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            layer(x)
    finally:
        recurrent._load.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and torch finds none")
@BOTH
def test_a_gpu_gives_what_the_cpu_gives(form):
    """Outputs and gradients in float64, through torch's own operations."""
    shape = (5, 33, 4, 6)
    expected = results(make(*shape[:2], 0.2, form=form), shape)
    assert_same(results(make(*shape[:2], 0.2, form=form).cuda(), shape, device="cuda"), expected, 1e-10)


def sanitized_units():
    """All types and levels that this machine runs with HIL_ALL, else one of each."""
    names = recurrent.levels()
    units = [unit for unit in recurrent.RECURRENT.units if unit.name.rpartition("_")[2] in names]
    few = {f"event_gru_float_{names[-1]}", "event_gru_double_generic"}
    return [unit for unit in units if os.environ.get("HIL_ALL") or unit.name in few]


@pytest.mark.parametrize("unit", sanitized_units(), ids=lambda unit: unit.name)
def test_no_array_is_left(unit, tmp_path):
    """144 runs of odd sizes, forms, products and options under ASan and UBSan."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("gcc or clang, whose sanitizers this needs, is not on PATH")
    flags = [flag for flag in recurrent.RECURRENT.flags if flag not in ("-O3", "-fPIC")]
    source, driver = recurrent.RECURRENT.sources, Path(__file__).parent / "recurrent_driver.c"
    command = [compiler, *flags, *unit.flags, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command += [f"-I{source}", "-o", str(tmp_path / "run"), str(driver), str(source / unit.source)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([str(tmp_path / "run")], capture_output=True, text=True, check=False)
    assert done.stdout == "144 runs, 0 failures\n", done.stderr[:4000]


# The library itself.


def library(folder, text):
    (folder / "csrc").mkdir(exist_ok=True)
    (folder / "csrc" / "a.c").write_text(text)
    return NativeLibrary("test's library", folder / "csrc", folder / "_a.so", ("-fPIC",), (Unit("a.c"),))


def test_a_library_is_built_again_when_its_sources_change(tmp_path):
    """Missing, current, out of date, current."""
    text = 'const char mark[] = "hil-core-source:" SOURCE_HASH;\n'
    made = library(tmp_path, text)
    assert not made.is_current(made.path)
    assert made.ready() == made.path
    assert made.is_current(made.path)
    changed = library(tmp_path, text + "int f(void) { return 1; }\n")
    assert not changed.is_current(changed.path)
    assert changed.is_current(changed.ready())


def test_a_library_that_does_not_compile_says_what_the_compiler_said(tmp_path, monkeypatch):
    """Nothing is left behind."""
    with pytest.raises(ToolError, match="the test's library did not compile"):
        library(tmp_path, "this is not C").ready()
    assert [p.name for p in tmp_path.iterdir()] == ["csrc"]
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(ToolError, match="Set CC to one that works"):
        library(tmp_path, "").ready()
