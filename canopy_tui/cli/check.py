"""``canopy status --check``: everything that can be set up wrong, each with ok or what to do."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from canopy_tui.terminal import unicode_ok
from wal.reading import checks
from wal.reading.checks import Check, Grade

FORMAT = 1
"""Version of the shape that ``--json`` prints."""

EXIT_CODES = {Grade.OK: 0, Grade.NOTE: 2, Grade.BAD: 1}
"""By the worst that was found. 1 is what a failed command ends with anyway."""

NAME_WIDTH = 15
_TONES = {Grade.OK: "", Grade.NOTE: "waiting", Grade.BAD: "bad"}


def check_everything(log_dir: Path, as_json: bool) -> int:
    """Look at everything, print each thing as soon as it is known, and return the exit code."""
    found: list[Check] = []

    def add(*some: Check) -> None:
        found.extend(some)
        if not as_json:
            for check in some:
                _print(check)

    add(*checks.local_checks(log_dir), check_terminal())
    target = checks.find_target(os.environ, Path.cwd())
    settings = checks.check_settings(target)
    add(settings)
    remote = _cassandra_checks(target) if settings.grade is not Grade.BAD else [settings]
    add(*(check for check in remote if check is not settings))
    add(checks.check_syncer(log_dir, connects=all(check.grade is not Grade.BAD for check in remote)))
    worst = max(check.grade for check in found)
    if as_json:
        said = [
            {"name": c.name, "grade": c.grade.name.lower(), "sentence": c.sentence, "remedy": c.remedy}
            for c in found
        ]
        shape = {"format": FORMAT, "worst": worst.name.lower(), "checks": said}
        click.echo(json.dumps(shape, ensure_ascii=False, indent=1))
    return EXIT_CODES[worst]


def _cassandra_checks(target: checks.Target) -> list[Check]:
    nowhere = checks.check_target(target)
    if nowhere is not None:
        return [nowhere]
    assert target.endpoint is not None, "check_target says so"
    try:
        from wal.cassandra.checks import check_cassandra, check_driver
    except ImportError as error:
        return [Check("driver", Grade.BAD, f"It cannot be used: {error}", "pip install cassandra-driver")]
    return [check_driver(), *check_cassandra(target.endpoint, target.settings)]


def check_terminal() -> Check:
    """Will glyphs arrive?"""
    if unicode_ok():
        return Check("terminal", Grade.OK, "It shows UTF-8: curves are drawn in braille.")
    locale = next((os.environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if os.environ.get(name)), "")
    why = f"the locale is {locale or 'not set'}, the terminal {os.environ.get('TERM') or 'not named'}"
    sentence = f"Curves are drawn in ASCII: {why}."
    return Check(
        "terminal", Grade.NOTE, sentence, "For braille, in a terminal that has it: export LC_ALL=C.UTF-8"
    )


def _print(check: Check) -> None:
    from canopy_tui.cli.printing import in_colour, print_lines, width
    from canopy_tui.format import clean
    from canopy_tui.listing import Piece
    from canopy_tui.runlines import ascii_pieces, wrapped
    from canopy_tui.storagelines import with_command

    room = max(width() - 6 - NAME_WIDTH, 20)
    lines = [
        [Piece(f"{check.grade.name.lower():<5} ", _TONES[check.grade]), Piece(f"{check.name:<{NAME_WIDTH}}")]
    ]
    said = wrapped(clean(check.sentence, 1000), room)
    advised = with_command(check.remedy, room)
    for place, part in enumerate([*said, *advised]):
        if place:
            lines.append([Piece(" " * (6 + NAME_WIDTH))])
        lines[-1].append(Piece(part, "" if place < len(said) else "accent"))
    if not unicode_ok():
        lines = [ascii_pieces(line) for line in lines]
    print_lines(lines, in_colour(False))
    sys.stdout.flush()
