"""The EGRU in torch: its equations, its gradients, and the integers that it becomes."""

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hil.cells import EventGRU, Surrogate
from hil.cells.event_gru import beta_thresholds
from hil.errors import UsageError
from hil.quant.gates import event_gru_step
from hil.quant.quantize_bytes import event_gru_layer

D, H, N, T = 5, 7, 3, 12
BOTH = pytest.mark.parametrize("form", ["threshold", "value"])


def make(seed=1, dtype=torch.float64, **options):
    """A layer with larger weights than its own, so that units speak, and biases that are not 0."""
    generator = torch.Generator().manual_seed(seed)
    layer = EventGRU(D, H, gain=2.0, generator=generator, **{"threshold_mean": 0.2, **options}).to(dtype)
    with torch.no_grad():
        for bias in (layer.bias_ih, layer.bias_hh):
            bias.copy_(torch.randn(3 * H, generator=generator, dtype=torch.float64) / 2)
    return layer


def inputs(seed=2, dtype=torch.float64, batch_first=False):
    shape = (N, T, D) if batch_first else (T, N, D)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def by_the_equations(layer, x, kept, y):
    """y, c and what is kept of each step, unit by unit as the equations are written; numpy, double precision."""
    W, R, b, d, theta = (
        p.detach().double().numpy()
        for p in (layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh, layer.threshold)
    )
    (Wr, Wz, Wg), (Rr, Rz, Rg) = W.reshape(3, H, D), R.reshape(3, H, H)
    (br, bz, bg), (dr, dz, dg) = b.reshape(3, H), d.reshape(3, H)
    out = []
    for x_t in x:
        r = sigmoid(x_t @ Wr.T + br + y @ Rr.T + dr)
        z = sigmoid(x_t @ Wz.T + bz + y @ Rz.T + dz)
        if layer.form == "threshold":
            c = z * kept + (1 - z) * np.tanh(x_t @ Wg.T + bg + r * (y @ Rg.T + dg))
            o = (c > theta).astype(float)
            kept = c - o * theta
        else:
            c = z * np.tanh(x_t @ Wg.T + bg + (r * y) @ Rg.T + dg) + (1 - z) * kept - y
            o = (c > theta).astype(float)
            kept = c
        y = o * c
        out.append((y, c, kept))
    return [np.stack(part) for part in zip(*out, strict=True)]


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_layer_equals_its_equations(form, dtype):
    """Events, states and the last state within 1e-5, from zeros and from a state given; some speak, some are silent."""
    layer, x = make(form=form, dtype=dtype), inputs(dtype=dtype)
    zeros = np.zeros((N, H))
    given = [0.3 * torch.randn(N, H, generator=torch.Generator().manual_seed(s)).to(dtype) for s in (3, 4)]
    for state, start in ((None, (zeros, zeros)), (tuple(given), [g.double().numpy() for g in given])):
        run = layer.run(x, state)
        y, c, kept = by_the_equations(layer, x.double().numpy(), *start)
        for got, want in ((run.y, y), (run.c, c), (run.state[0], kept[-1]), (run.state[1], y[-1])):
            np.testing.assert_allclose(got.detach().double().numpy(), want, atol=1e-5)
        speaks = (y != 0).mean()
        assert 0.1 < speaks < 0.9
        assert (run.events.detach().numpy() == (y != 0)).all()


def test_the_trace_is_a_running_mean_of_events():
    """tr = 0.9 tr + 0.1 y from zeros."""
    run = make().run(inputs())
    trace = torch.zeros(N, H, dtype=torch.float64)
    for got, y in zip(run.trace, run.y, strict=True):
        trace = 0.9 * trace + 0.1 * y
        torch.testing.assert_close(got, trace)


@BOTH
def test_batch_first_only_changes_the_order(form):
    """Outputs transposed, states equal."""
    layer, x = make(form=form), inputs()
    y, state = layer(x)
    layer.batch_first = True
    other, same = layer(x.transpose(0, 1))
    torch.testing.assert_close(other, y.transpose(0, 1))
    torch.testing.assert_close(same, state)


@BOTH
def test_a_sequence_may_be_cut_in_two(form):
    """The state handed over makes the second half what it was."""
    layer, x = make(form=form), inputs()
    y, state = layer(x)
    first, between = layer(x[:5])
    second, end = layer(x[5:], between)
    torch.testing.assert_close(torch.cat([first, second]), y)
    torch.testing.assert_close(end, state)


@pytest.mark.parametrize("batch_first", [False, True])
def test_packed_sequences_are_each_run_alone(batch_first):
    """Sequences of three lengths: outputs and last states are those of each by itself."""
    layer, x = make(batch_first=batch_first), inputs(batch_first=batch_first)
    lengths = torch.tensor([4, 12, 9])
    packed = pack_padded_sequence(x, lengths, batch_first, enforce_sorted=False)
    y, (h, last) = layer(packed)
    padded, got_lengths = pad_packed_sequence(y, batch_first)
    assert got_lengths.tolist() == lengths.tolist()
    layer.batch_first = True
    for n, length in enumerate(lengths):
        one = x[n] if batch_first else x[:, n]
        alone, (alone_h, alone_y) = layer(one[None, :length])
        torch.testing.assert_close((padded[n] if batch_first else padded[:, n])[:length], alone[0])
        torch.testing.assert_close((h[n], last[n]), (alone_h[0], alone_y[0]))


# Gradients.


@BOTH
def test_true_gradients_agree_with_finite_differences(form):
    """Without a surrogate the step has derivative 0, which is right wherever no unit stands at its threshold."""
    layer, x = make(form=form, surrogate=Surrogate(damping=0.0, support=1.0)), inputs()[:5, :1]
    assert (layer.run(x).c - layer.threshold).abs().min() > 1e-4, "a unit so near would cross within the difference"
    parameters = [layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh, layer.threshold]
    state = tuple(torch.full((1, H), v, dtype=torch.float64, requires_grad=True) for v in (0.1, 0.2))

    def run(x, h, y, *values):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "threshold")
        named = dict(zip(names, values, strict=True))
        out, state = torch.func.functional_call(layer, named, (x, (h, y)))
        return out, *state

    arguments = (x.requires_grad_(), *state, *(p.detach().clone().requires_grad_() for p in parameters))
    assert torch.autograd.gradcheck(run, arguments, eps=1e-7, atol=1e-5)


def written_gradients(layer, x, d_y, d_o, d_tr, d_h_last):
    """
    Backward pass of form "threshold", equation by equation (reference: the paper authors' library).

    Returns:
        d_x, dW, dR, d_bias_ih, d_bias_hh, d_theta.
    """
    W, R, b, d, theta = (
        p.detach().numpy() for p in (layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh, layer.threshold)
    )
    damping, support = layer.surrogate.damping, layer.surrogate.support
    h, y, kept = np.zeros((N, H)), np.zeros((N, H)), []
    for x_t in x:
        p, q = x_t @ W.T + b, y @ R.T + d
        r, z = sigmoid(p[:, :H] + q[:, :H]), sigmoid(p[:, H : 2 * H] + q[:, H : 2 * H])
        g = np.tanh(p[:, 2 * H :] + r * q[:, 2 * H :])
        c = z * h + (1 - z) * g
        o = (c > theta).astype(float)
        kept.append((x_t, y, h, r, z, g, q[:, 2 * H :], c, o))
        y, h = o * c, c - o * theta
    dW, dR, db, dd, d_theta = (np.zeros_like(a) for a in (W, R, b, d, theta))
    d_x, from_later, carry, trace = np.zeros_like(x), np.zeros((N, H)), d_h_last, np.zeros((N, H))
    for t in range(T - 1, -1, -1):
        x_t, y, h, r, z, g, q, c, o = kept[t]
        trace = 0.9 * trace + d_tr[t]
        dy = d_y[t] + from_later + 0.1 * trace
        psi = damping * np.maximum(0, 1 - support * np.abs(c - theta))
        ds = psi * (d_o[t] + c * dy - theta * carry)
        d_theta -= (ds + o * carry).sum(0)
        dc = o * dy + ds + carry
        carry, dg, dz = z * dc, (1 - z) * dc, (h - g) * dc
        dg = (1 - g**2) * dg
        dr = r * (1 - r) * dg * q
        dz = z * (1 - z) * dz
        dp, dq = np.hstack([dr, dz, dg]), np.hstack([dr, dz, dg * r])
        dW, dR, db, dd = dW + dp.T @ x_t, dR + dq.T @ y, db + dp.sum(0), dd + dq.sum(0)
        d_x[t], from_later = dp @ W, dq @ R
    return d_x, dW, dR, db, dd, d_theta


def test_surrogate_gradients_are_those_written_down():
    """Of all inputs and parameters, with gradients arriving at events, at who fired, at the trace and at the end."""
    layer, x = make(surrogate=Surrogate(damping=0.7, support=1.0)), inputs().requires_grad_()
    run = layer.run(x)
    rng = np.random.default_rng(5)
    d_y, d_o, d_tr = (rng.normal(size=(T, N, H)) for _ in range(3))
    d_h = rng.normal(size=(N, H))
    loss = sum(
        (part * torch.from_numpy(g)).sum()
        for part, g in ((run.y, d_y), (run.events, d_o), (run.trace, d_tr), (run.state[0], d_h))
    )
    parameters = (layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh, layer.threshold)
    got = torch.autograd.grad(loss, (x, *parameters))
    expected = written_gradients(layer, x.detach().numpy(), d_y, d_o, d_tr, d_h)
    for name, have, want in zip(("x", "W", "R", "b", "d", "theta"), got, expected, strict=True):
        np.testing.assert_allclose(have.numpy(), want, atol=1e-10, err_msg=name)


# Regularization, thresholds, options.


def test_zoneout_keeps_states_while_training_and_mixes_them_otherwise():
    """A unit keeps h or takes c; without training h' lies between in the same proportion."""
    layer, x = make(zoneout=0.4), inputs()[:1]
    h = 0.3 * torch.ones(N, H, dtype=torch.float64)
    y = torch.zeros_like(h)
    layer.zoneout = 0.0
    c = layer.run(x, (h, y)).c
    layer.zoneout = 0.4
    torch.manual_seed(1)
    trained = torch.stack([layer.run(x, (h, y)).c for _ in range(500)])
    kept, moved = torch.isclose(trained, h), torch.isclose(trained, c)
    assert (kept ^ moved).all()
    assert abs(kept.double().mean() - 0.4) < 0.02
    layer.eval()
    torch.testing.assert_close(layer.run(x, (h, y)).c, 0.4 * h + 0.6 * c)


def test_dropconnect_leaves_out_recurrent_weights_while_training():
    """A different layer each time, its own layer otherwise."""
    layer, x = make(dropconnect=0.5), inputs()
    torch.manual_seed(1)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    y = layer(x)[0]
    layer.dropconnect = 0.0
    torch.testing.assert_close(layer.train()(x)[0], y)


@pytest.mark.parametrize("mean", [0.01, 0.3, 0.8])
def test_thresholds_begin_as_a_beta_distribution(mean):
    """Mean, and the variance of Beta(a, 3), of 20,000 draws; all within 0 and 1."""
    theta = beta_thresholds(20_000, mean, torch.Generator().manual_seed(1))
    a = 3 * mean / (1 - mean)
    assert theta.mean().item() == pytest.approx(mean, abs=0.005)
    assert theta.var().item() == pytest.approx(a * 3 / ((a + 3) ** 2 * (a + 4)), rel=0.1)
    assert theta.min() >= 0
    assert theta.max() <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "other"}, "form = 'other'"),
        ({"threshold_mean": 0.0}, "threshold_mean = 0.0"),
        ({"threshold_mean": 1.0}, "threshold_mean = 1.0"),
        ({"zoneout": 1.0}, "zoneout = 1.0"),
        ({"dropconnect": -0.1}, "dropconnect = -0.1"),
        ({"trace_decay": 1.0}, "trace_decay = 1.0"),
        ({"form": "value", "zoneout": 0.1}, "zoneout is of form 'threshold' only"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    """The limits themselves, and a form that is not there."""
    with pytest.raises(UsageError, match=message):
        EventGRU(1, 1, **options)


def test_a_rounded_layer_follows_the_layer():
    """One step from 300 states: c within 0.02; whoever is not that near its threshold fires, or not, as in torch."""
    layer = make(seed=3)
    rounded = event_gru_layer(
        *(p.detach().numpy() for p in (layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh, layer.threshold))
    )
    rng = np.random.default_rng(6)
    x, h, y = (rng.integers(-20000, 20000, (300, n)).astype(np.int16) for n in (D, H, H))
    y *= rng.random(y.shape) < 0.2
    run = layer.run(*(torch.from_numpy(x / 2**15)[None], tuple(torch.from_numpy(v / 2**15) for v in (h, y))))
    step = event_gru_step(x, y, h, rounded)
    c, theta = run.c[0].detach().numpy(), layer.threshold.detach().clamp(0, 1).numpy()
    np.testing.assert_allclose(step.c_q15 / 2**15, c, atol=0.02)
    sure = np.abs(c - theta) > 0.02
    assert sure.mean() > 0.8
    np.testing.assert_array_equal((step.y_q15 != 0)[sure], (run.events[0].detach().numpy() != 0)[sure])
    assert 0.05 < (step.y_q15 != 0).mean() < 0.95
