"""The command line: ``interop compare``, ``interop doctor``, ``interop backends``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from interop import registry
from interop.cli import _doctor as diagnosis
from interop.cli.bench import MEASURES
from interop.cli.compare import _measure as measure
from interop.cli.compare import _report as report
from interop.protocols import InteropError, InvalidArgument, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Share GPU memory between Vulkan and HIP, OpenCL, CUDA or the host.",
)
_out = Console()
_err = Console(stderr=True)


@app.command()
def compare(
    *,
    consumers: Annotated[
        str, typer.Option(help="Comma-separated consumers; every registered one by default.")
    ] = "",
    producer: Annotated[str, typer.Option(help="The backend that owns the memory.")] = "vulkan",
    frames: Annotated[int, typer.Option(min=1, help="Frames to verify for each consumer.")] = 600,
    grid: Annotated[int, typer.Option(min=2, max=8192, help="Heights per side of the grid.")] = 256,
    sync: Annotated[str, typer.Option(help="auto, native, bridged or blocking.")] = "auto",
    require: Annotated[str | None, typer.Option(help="zero-copy or staged: refuse anything else.")] = None,
    device: Annotated[
        str | None,
        typer.Option(help="The producer's device: index, or part of its name, uuid or PCI address."),
    ] = None,
    consumer_device: Annotated[
        str | None,
        typer.Option(help="The consumers' device; given with --device it vouches that both are one."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds after which any wait gives up.")] = 10.0,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
    png: Annotated[
        Path | None, typer.Option(help="Write a contact sheet of rendered frames to this file.")
    ] = None,
) -> None:
    """Run one producer against every consumer here: correctness, path, synchronisation and speed side by side."""
    plugins = registry.default()
    names = [name.strip() for name in consumers.split(",") if name.strip()] or _default_consumers()
    unknown = [name for name in names if name not in plugins.backends(Role.CONSUMER)]
    if unknown:
        known = ", ".join(sorted(plugins.backends(Role.CONSUMER)))
        _err.print(f"[red]no consumer {', '.join(unknown)}[/]; there are: {known}", highlight=False)
        raise typer.Exit(2)
    for line in plugins.prepare_environment():
        _out.print(f"[dim]{line}[/]", highlight=False)
    settings = measure.Settings(
        producer=producer,
        frames=frames,
        grid=grid,
        sync=sync,
        require=require,
        timeout=timeout,
        device=device,
        consumer_device=consumer_device,
    )
    results = _run_all(names, settings)
    agreements = measure.agreements(results)
    _out.print(report.table(results))
    for agreement in agreements:
        ratio = f", speed ratio {agreement.speed_ratio:.2f}" if agreement.speed_ratio else ""
        _out.print(
            f"{agreement.a} against {agreement.b}: largest difference {agreement.max_abs_difference:.1e} "
            f"over {agreement.frames} frames{ratio}",
            highlight=False,
        )
    _print_failures()
    if json is not None:
        report.write_json(json, report.document(producer, results, agreements))
        _out.print(f"figures in {json}", highlight=False)
    if png is not None and report.write_png(png, results):
        _out.print(f"pictures in {png}", highlight=False)
    if not any(result.available for result in results):
        _err.print("[red]no consumer is available[/]")
        raise typer.Exit(1)
    raise typer.Exit(0 if all(result.correct for result in results) else 1)


def _default_consumers() -> list[str]:
    """Every registered consumer, the shipped pair first so that they stand side by side."""
    shipped = ["opencl", "hip"]
    names = registry.backends(Role.CONSUMER)
    return [name for name in shipped if name in names] + sorted(set(names) - set(shipped))


def _run_all(names: Sequence[str], settings: measure.Settings) -> list[measure.Result]:
    columns = (TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    results: list[measure.Result] = []
    total = 3 * settings.frames + max(1, settings.frames // 4)
    with Progress(*columns, console=_err, transient=True, disable=not _err.is_terminal) as progress:
        for name in names:
            task = progress.add_task(name, total=total)

            def advance(phase: str, frames: int, name: str = name, task: int = task) -> None:
                progress.update(task, advance=frames, description=f"{name}: {phase}")  # type: ignore[arg-type]

            results.append(measure.run(name, settings, advance))
            progress.remove_task(task)
    return results


def _print_failures() -> None:
    for failure in registry.failures():
        _err.print(f"[yellow]{failure}[/]", highlight=False)


@app.command()
def backends() -> None:
    """List the registered backends, opening none of them."""
    listing = Table(header_style="bold")
    for title in ("backend", "roles", "what it is"):
        listing.add_column(title)
    for name, info in registry.backends().items():
        listing.add_row(name, ", ".join(sorted(info.roles)), info.summary)
    _out.print(listing)
    _print_failures()


@app.command()
def doctor(
    *,
    consumers: Annotated[
        str, typer.Option(help="Comma-separated consumers to look at; every registered one by default.")
    ] = "",
    json: Annotated[Path | None, typer.Option(help="Write the whole report to this file.")] = None,
    test: Annotated[
        bool, typer.Option("--test", help="Send bytes both ways over each pair, path and strategy.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds after which any wait gives up.")] = 10.0,
) -> None:
    """Show what is here, which devices are one, and what would be chosen for each pair. For bug reports."""
    try:
        found = diagnosis.examine([name.strip() for name in consumers.split(",") if name.strip()])
    except InvalidArgument as error:
        _err.print(f"[red]{error}[/]", highlight=False)
        raise typer.Exit(2) from error
    passed = diagnosis.test(found, timeout) if test else True
    for line in diagnosis.lines(found):
        _say(line)
    _print_failures()
    if json is not None:
        report.write_json(json, diagnosis.document(found))
    raise typer.Exit(0 if passed else 1)


def _say(line: diagnosis.Line) -> None:
    """Print a line: on a terminal broken between words and its rest indented, or cut where that may be; else whole."""
    text = Text.assemble((line.head, line.style), line.text)
    margin = Text("  " * line.depth)
    if not _out.is_terminal:
        _out.print(margin + text, soft_wrap=True)
        return
    room = _out.width - len(margin)
    if line.may_be_cut:
        text.truncate(room, overflow="ellipsis")
    first, *rest = text.wrap(_out, room) or [text]
    parts = [first]
    if rest:  # again, as what follows the first line has less room
        done = len(first)
        while text.plain[done] == " ":
            done += 1
        parts += text[done:].wrap(_out, room - 2)
    for number, part in enumerate(parts):
        part.rstrip()
        _out.print(margin + ("  " if number else "") + part)


@app.command()
def bench(
    *,
    consumers: Annotated[
        str, typer.Option(help="Comma-separated consumers; every registered one by default.")
    ] = "",
    producer: Annotated[str, typer.Option(help="The backend that owns the memory.")] = "vulkan",
    measure: Annotated[
        str, typer.Option(help=f"Comma-separated, of {', '.join(MEASURES)}; all by default.")
    ] = "",
    frames: Annotated[int, typer.Option(min=1, help="Frames per figure.")] = 200,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds after which any wait gives up.")] = 10.0,
    by_hand: Annotated[
        Path | None,
        typer.Option(help="Folder of programs by hand to hold links against; a checkout's own by default."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write a picture of the figures to this file.")] = None,
) -> None:
    """Measure what sharing costs here, each figure held against the same calls by hand where there are such."""
    from dataclasses import asdict

    from interop.cli.bench import Settings, run
    from interop.cli.bench import _report as drawing

    chosen = [name.strip() for name in measure.split(",") if name.strip()] or list(MEASURES)
    unknown = [name for name in chosen if name not in MEASURES]
    if unknown:
        _err.print(f"[red]no such measure: {', '.join(unknown)}; there are: {', '.join(MEASURES)}[/]")
        raise typer.Exit(2)
    if png is not None:
        drawing.check_plots()
    for line in registry.default().prepare_environment():
        _out.print(f"[dim]{line}[/]", highlight=False)
    names = [name.strip() for name in consumers.split(",") if name.strip()] or _default_consumers()
    settings = Settings(producer=producer, measures=chosen, frames=frames, timeout=timeout, by_hand=by_hand)
    with _err.status("") as status:
        outcome = run(names, settings, status.update)
    rows = outcome.document()
    for table in drawing.tables(rows):
        _out.print(table)
    for note in outcome.notes:
        _out.print(f"[dim]{escape(note)}[/]", highlight=False)
    if not outcome.rows:
        _err.print("[red]nothing could be measured: no consumer that was named shares memory here[/]")
        raise typer.Exit(1)
    if json is not None:
        report.write_json(json, [asdict(row) for row in rows])
        _out.print(f"figures in {json}", highlight=False)
    if png is not None:
        drawing.picture(png, rows)
        _out.print(f"picture in {png}", highlight=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Errors that interop raises on purpose are shown without a traceback."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        app(args=list(arguments) if arguments is not None else None)
    except InteropError as error:
        _err.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
