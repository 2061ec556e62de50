"""``hil bench``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.cli.common import COMPILER, FAST_LOAD, OUT, RIG, examples, find_recipe, opened, options

if TYPE_CHECKING:
    from hil.rig import RigRequest


@click.command(
    name="bench",
    short_help="Cycles of eGRU against int8 and float GRU",
    epilog=examples(
        "hil bench",
        "hil bench keyword-demo --compiler zig",
        "hil bench kernels --compiler gcc -D 32 -H 64",
        "hil bench frontend",
        "hil bench link",
        "hil bench microphone",
        "hil bench emulator",
        "hil bench training --threads 2",
    ),
)
@click.argument("model", required=False, metavar="[MODEL|kernels|frontend|link|microphone|emulator|training]")
@options(OUT, RIG, COMPILER, FAST_LOAD)
@click.option("--inputs", "-D", type=click.IntRange(1), help="D of the recurrent kernels, of training.  [default: 64]")
@click.option(
    "--units",
    "-H",
    type=click.IntRange(1),
    help="H of the recurrent kernels, of training.  [default: 30, of training 256]",
)
@click.option("--kernel", "kernels", multiple=True, help="Only this one; may be repeated.")
@click.option("--repeats", type=click.IntRange(1, 64), default=8, show_default=True, help="Calls of each kernel.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of `hil bench training`.")
@click.option("--baud", type=click.IntRange(300, 3_000_000), help="Line speed of `hil bench link`.  [default: 500000]")
def bench(
    model: str | None,
    out: Path | None,
    rig: RigRequest,
    compiler: str | None,
    fast_load: bool,
    inputs: int | None,
    units: int | None,
    kernels: tuple[str, ...],
    repeats: int,
    threads: int,
    baud: int | None,
) -> int:
    """
    Cycles of single kernels: the eGRU step against the int8 and the float GRU step of the same shape.

    With MODEL the shape is that of its first layer. "kernels" measures every way to sum an eGRU's rows, by shape,
    zeros, activity, compiler and wait states, and keeps what it has measured. "frontend" measures the front ends,
    sound to features;
    "link" the payload bytes a second against what the line can carry; "microphone" what listening by itself costs the
    emulated device; "emulator" the emulated chip's speed on this machine against Unicorn's, status 1 if it is too
    slow; "training" the event-based GRU's training step against
    torch.nn.GRU's, by activity, status 1 if it is too slow.
    """
    if model == "kernels":
        from hil.cli.kernels import show_kernel_bench

        with opened(out or Path("build") / "bench-kernels", force=False) as ws:
            show_kernel_bench(ws, rig, compiler, inputs, units, kernels, fast_load)
        return 0
    if model == "emulator":
        from hil.cli.speed import show_emulator_bench

        return show_emulator_bench(compiler)
    if model == "training":
        from hil.cli.training_speed import show_training_bench

        return show_training_bench(inputs, units, threads, out)
    if model in ("frontend", "link", "microphone"):
        from hil.cli import sound

        if model == "microphone":
            return sound.show_microphone_bench(out or Path("build") / "bench-microphone", compiler)
        with opened(out or Path("build") / f"bench-{model}", force=False) as ws:
            if model == "frontend":
                sound.show_frontend_bench(ws, rig, compiler, repeats, fast_load)
            else:
                sound.show_link_bench(ws, rig, compiler, baud, fast_load)
        return 0
    from hil.cli.show import show_bench
    from hil.experiment.device_stages import first_shape, run_bench

    recipe = find_recipe(model) if model else None
    folder = out or Path("build") / (recipe.name if recipe else "bench")
    with opened(folder, force=False) as ws:
        shape = first_shape(recipe, ws) if recipe else (64, 30)
        done = run_bench(
            ws,
            rig,
            compiler,
            inputs=inputs or shape[0],
            units=units or shape[1],
            kernels=kernels,
            repeats=repeats,
            chip_name=recipe.build.chip if recipe else None,
            fast_load=fast_load,
        )
        show_bench(done)
    return 0
