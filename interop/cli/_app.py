"""The commands of ``interop``. Each checks its options first, then runs, then prints and writes its report."""

from __future__ import annotations

import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from interop import __version__, registry
from interop.cli import _doctor as diagnosis
from interop.cli._measures import MEASURES
from interop.cli._options import CONSUMERS, PRODUCER, Names, OutputFile, every_consumer, write_json
from interop.negotiation import MEMORY_TYPES, MemoryPath, Strategy
from interop.protocols import InteropError, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.cli.compare import CompareSettings, Result

_out = Console()
_err = Console(stderr=True)
_SYNC = click.Choice(["auto", *(each.value for each in Strategy)])
_PATH = click.Choice([each.value for each in MemoryPath])
_HANDLE_TYPE = click.Choice([each.value for each in MEMORY_TYPES])


@click.group(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(__version__, "-V", "--version", prog_name="interop", message="%(prog)s %(version)s")
def app() -> None:
    """Share GPU memory between Vulkan and HIP, OpenCL, CUDA or the host.

    Shell completion: eval "$(_INTEROP_COMPLETE=bash_source interop)"; zsh and fish alike.
    """


_consumers = click.option(
    "--consumers", type=CONSUMERS, help="Consumers, separated by commas.  [default: every registered one]"
)
_producer = click.option(
    "--producer", type=PRODUCER, default="vulkan", help="The backend that owns the memory."
)
_seconds = click.FloatRange(min=0, min_open=True)
_timeout = click.option(
    "--timeout", type=_seconds, default=10.0, help="Seconds after which any wait gives up."
)
_json = click.option("--json", type=OutputFile(), help="Write the report to this file; - is standard output.")


@app.command()
@_consumers
@_producer
@click.option("--frames", type=click.IntRange(min=1), default=600, help="Frames to verify per consumer.")
@click.option("--grid", type=click.IntRange(2, 8192), default=256, help="Heights per side of the grid.")
@click.option("--sync", type=_SYNC, default="auto", help="Synchronisation strategy.")
@click.option("--path", type=_PATH, help="Refuse every other memory path.")
@click.option("--handle-type", type=_HANDLE_TYPE, help="Refuse every other external handle type.")
@click.option(
    "--producer-device", help="The producer's device: index, or part of its name, uuid or PCI address."
)
@click.option(
    "--consumer-device",
    help="The consumers' device. With --producer-device it vouches that both are one device.",
)
@_timeout
@_json
@click.option("--png", type=OutputFile(), help="Write a contact sheet of rendered frames to this file.")
def compare(
    consumers: list[str] | None, producer: str, json: Path | None, png: Path | None, **options: Any
) -> None:
    """Run one producer against every consumer: correctness, path, synchronisation and speed side by side."""
    from interop.cli.compare import CompareSettings, agreements, document, table, write_png

    _prepare(json)
    results = _run_all(consumers or every_consumer(), CompareSettings(producer=producer, **options))
    agreed = agreements(results)
    if str(json) != "-":
        _out.print(table(results))
    for each in agreed:
        _tell(escape(str(each)), json)
    _print_failures()
    _write_figures(json, document(producer, results, agreed))
    if png is not None and write_png(png, results):
        _tell(f"pictures in {escape(str(png))}", json)
    if not any(result.available for result in results):
        _err.print("[red]no consumer is available[/]; interop doctor says why")
        raise SystemExit(1)
    raise SystemExit(0 if all(result.correct for result in results) else 1)


def _tell(text: str, json: Path | None) -> None:
    """Print a line of a report; on standard error where standard output carries JSON."""
    (_err if str(json) == "-" else _out).print(text, highlight=False)


def _prepare(json: Path | None) -> None:
    """Let plugins set up software drivers, and print their reports."""
    for line in registry.default().prepare_environment():
        _tell(f"[dim]{escape(line)}[/]", json)


def _write_figures(json: Path | None, content: Any) -> None:
    """Write the report where ``--json`` asks for it, and print where it is."""
    if json is not None:
        write_json(json, content)
        _tell(f"figures in {escape(str(json))}", json)


def _run_all(names: Sequence[str], settings: CompareSettings) -> list[Result]:
    from interop.cli.compare import compare_consumer

    columns = (TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    results: list[Result] = []
    total = 3 * settings.frames + max(1, settings.frames // 4)
    with Progress(*columns, console=_err, transient=True, disable=not _err.is_terminal) as progress:
        for name in names:
            task = progress.add_task(name, total=total)

            def advance(phase: str, frames: int, name: str = name, task: int = task) -> None:
                progress.update(task, advance=frames, description=f"{name}: {phase}")  # type: ignore[arg-type]

            results.append(compare_consumer(name, settings, advance))
            progress.remove_task(task)
    return results


def _print_failures() -> None:
    for failure in registry.failures():
        _err.print(f"[yellow]{escape(str(failure))}[/]", highlight=False)


@app.command()
def backends() -> None:
    """List the registered backends; open none of them."""
    listing = Table("backend", "roles", "what it is", header_style="bold")
    for name, info in registry.backends().items():
        listing.add_row(name, ", ".join(sorted(info.roles)), info.summary)
    _out.print(listing)
    _print_failures()


@app.command()
@_consumers
@_json
@click.option("--test", is_flag=True, help="Send bytes both ways over each pair, path and strategy.")
@_timeout
def doctor(consumers: list[str] | None, json: Path | None, timeout: float, *, test: bool) -> None:
    """Show what is here, which devices are one, and what each pair would use. For bug reports."""
    found = diagnosis.examine(consumers or ())
    passed = diagnosis.test(found, timeout) if test else True
    if str(json) != "-":
        for line in diagnosis.lines(found):
            _say(line)
    _print_failures()
    if json is not None:
        write_json(json, diagnosis.document(found))
    raise SystemExit(0 if passed else 1)


def _say(line: diagnosis.Line) -> None:
    """Print a line. A terminal gets it wrapped between words and indented, or cut where that is allowed."""
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
    if rest:  # the lines after the first have less room, so they are wrapped again
        done = len(text) - len(text.plain[len(first) :].lstrip(" "))
        parts += text[done:].wrap(_out, room - 2)
    for number, part in enumerate(parts):
        part.rstrip()
        _out.print(margin + ("  " if number else "") + part)


@app.command()
@_consumers
@_producer
@click.option(
    "--measure",
    "measures",
    type=Names("measure", lambda: MEASURES),
    help=f"Measures, separated by commas: {', '.join(MEASURES)}.  [default: all]",
)
@click.option("--frames", type=click.IntRange(min=1), default=200, help="Frames per figure.")
@_timeout
@click.option(
    "--by-hand",
    "against",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with a hand-written program per consumer to measure against; a checkout has benchmarks/by_hand.",
)
@_json
@click.option("--png", type=OutputFile(), help="Write a picture of the figures to this file.")
def bench(consumers: list[str] | None, json: Path | None, png: Path | None, **options: Any) -> None:
    """Measure what sharing costs here, against the same calls by hand where such programs are given."""
    from interop.cli.bench import BenchSettings, check_plots, picture, run_measures, tables

    if png is not None:
        check_plots()
    _prepare(json)
    with _err.status("") as status:
        outcome = run_measures(consumers or every_consumer(), BenchSettings(**options), status.update)
    rows = outcome.document()
    if str(json) != "-":
        for each in tables(rows):
            _out.print(each)
    for note in outcome.notes:
        _tell(f"[dim]{escape(note)}[/]", json)
    if not outcome.rows:
        _err.print("[red]nothing was measured: no named consumer shares memory here[/]")
        raise SystemExit(1)
    _write_figures(json, [asdict(row) for row in rows])
    if png is not None:
        picture(png, rows)
        _tell(f"picture in {escape(str(png))}", json)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Wrong use is one line on standard error and exit status 2. An error that interop raises on purpose is one line
    and status 1.
    """
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        status = app.main(arguments, "interop", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as help_text:
        click.echo(help_text.format_message())
        sys.exit(0)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else "interop"
        _err.print(
            f"[red]{escape(command)}[/]: {escape(error.format_message())}", highlight=False, soft_wrap=True
        )
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except InteropError as error:
        _err.print(f"[red]{type(error).__name__}[/]: {escape(str(error))}", highlight=False)
        sys.exit(2 if isinstance(error, InvalidArgument) else 1)
    sys.exit(status or 0)
