"""What all four cells have in common, as layers of torch.nn: packed batches, order of dimensions, states in and out."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

from hil.cells import GRU, EmbeddedGRU, EventEmbeddedGRU, EventGRU

D, H = 4, 6
LENGTHS = (3, 8, 1, 8, 5)
CELLS = {
    "GRU": GRU,
    "EmbeddedGRU": EmbeddedGRU,
    "EventEmbeddedGRU": EventEmbeddedGRU,
    "EventGRU": EventGRU,
    "EventGRU, loop": lambda *args, **options: EventGRU(*args, fused=False, **options),
}
EACH = pytest.mark.parametrize("cell", CELLS)


def make(cell, batch_first):
    torch.manual_seed(1)
    layer = CELLS[cell](D, H, batch_first=batch_first).double()
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name != "threshold":
                parameter.normal_(std=0.8)
            else:
                parameter.fill_(0.1)
    return layer


def states(last):
    """A list of [N, H], of layers with one state and with two."""
    return list(last) if isinstance(last, tuple) else [last]


def sequences(seed=2):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, D, generator=generator, dtype=torch.float64) for length in LENGTHS]


def start(cell):
    """States before the first step, [N, H] each."""
    generator = torch.Generator().manual_seed(3)
    h, y = (0.3 * torch.randn(len(LENGTHS), H, generator=generator, dtype=torch.float64) for _ in range(2))
    return (h, y) if "Event" in cell else h


def one(state, n):
    return tuple(part[n : n + 1] for part in state) if isinstance(state, tuple) else state[n : n + 1]


@EACH
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_packed_batch_is_its_sequences_run_alone(cell, batch_first):
    """Outputs, last states and gradients of all parameters and inputs; from states given."""
    layer, state = make(cell, batch_first), start(cell)
    together, alone = ([s.clone().requires_grad_() for s in sequences()] for _ in range(2))
    y, last = layer(pack_sequence(together, enforce_sorted=False), state)
    padded, lengths = pad_packed_sequence(y, batch_first=True)
    assert lengths.tolist() == list(LENGTHS)
    loss = (padded**2).sum() + sum((s**3).sum() for s in states(last))
    got = torch.autograd.grad(loss, [*together, *layer.parameters()])

    loss = 0
    for n, x in enumerate(alone):
        y, last_alone = layer(x[None] if batch_first else x[:, None], one(state, n))
        y = y if batch_first else y.transpose(0, 1)
        torch.testing.assert_close(padded[n, : len(x)], y[0])
        assert not padded[n, len(x) :].any()
        for both, single in zip(states(last), states(last_alone), strict=True):
            torch.testing.assert_close(both[n], single[0])
        loss = loss + (y**2).sum() + sum((s**3).sum() for s in states(last_alone))
    for have, want in zip(got, torch.autograd.grad(loss, [*alone, *layer.parameters()]), strict=True):
        torch.testing.assert_close(have, want)


@EACH
def test_a_packed_batch_may_come_sorted(cell):
    """Longest first, as torch packs by itself."""
    layer = make(cell, batch_first=True)
    x = torch.randn(3, 7, D, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    y, last = layer(pack_padded_sequence(x, torch.tensor([7, 4, 2]), batch_first=True))
    padded, _ = pad_packed_sequence(y, batch_first=True)
    whole, _ = layer(x)
    for n, length in enumerate((7, 4, 2)):
        torch.testing.assert_close(padded[n, :length], whole[n, :length])
        torch.testing.assert_close(states(last)[0][n], states(layer(x[n : n + 1, :length])[1])[0][0])


@EACH
def test_order_of_dimensions_and_states(cell):
    """[T, N, D] or [N, T, D]; a sequence may be cut in two, the state handed over."""
    x = torch.randn(9, 3, D, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    layer = make(cell, batch_first=False)
    y, last = layer(x)
    turned, same = make(cell, batch_first=True)(x.transpose(0, 1))
    torch.testing.assert_close(turned.transpose(0, 1), y)
    torch.testing.assert_close(states(same), states(last))
    first, between = layer(x[:4])
    second, end = layer(x[4:], between)
    torch.testing.assert_close(torch.cat([first, second]), y)
    torch.testing.assert_close(states(end), states(last))


def test_our_gru_is_torchs():
    """Same parameters, packed, from a state: outputs, last states and gradients, also of the state."""
    ours, theirs = make("GRU", False), torch.nn.GRU(D, H).double()
    with torch.no_grad():
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.copy_(mine)
    packed = pack_sequence(sequences(), enforce_sorted=False)
    gradients = []
    for layer in (ours, theirs):
        h_0 = start("GRU").requires_grad_()
        y, last = layer(packed, h_0 if layer is ours else h_0[None])
        loss = (y.data**2).sum() + (last**3).sum()
        gradients.append([y.data, last.view(-1, H), *torch.autograd.grad(loss, [h_0, *layer.parameters()])])
    for have, want in zip(*gradients, strict=True):
        torch.testing.assert_close(have, want)
