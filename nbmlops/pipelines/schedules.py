"""Cron lines: checked, written for a crontab, and translated into systemd's timers; and the pipeline they start."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbmlops import settings
from nbmlops.errors import InvalidValue, StoreFault
from nbmlops.pipelines.exports import as_text, project, slug
from nbmlops.pipelines.plan import Pipeline

TARGETS = ("cron", "systemd")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Name, least, most and the names of the values from the least on; see crontab(5). Sunday is 0 and 7.
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
_PART = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?")
_BUSY = 75  # how flock ends where the flow before still runs


@dataclass(frozen=True)
class Cron:
    """A cron line's five fields: as written, and the values that each means."""

    text: str
    values: tuple[tuple[int, ...], ...]

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Read and check ``0 6 * * mon-fri``.

        Raises:
            InvalidValue: listing every fault.
        """
        words = text.split()
        if len(words) != len(_FIELDS):
            names = ", ".join(name for name, *_ in _FIELDS)
            raise InvalidValue(f"the schedule {text!r} has {len(words)} fields, not five", f"they are {names}")
        faults: list[str] = []
        values = tuple(_values(word, *place, faults=faults) for word, place in zip(words, _FIELDS, strict=True))
        if faults:
            raise InvalidValue.of(f"the schedule {text!r}", faults, "for example 0 6 * * mon-fri: at six, on work days")
        return cls(" ".join(words), values)

    def calendars(self) -> list[str]:
        """The same times as systemd's calendar events, of which any one counts.

        Where both days are named, cron takes either; a field that starts with a star only narrows the other one.
        """
        minute, hour, day, month, weekday = self.values
        at = f"{_listed(hour, 0, 23)}:{_listed(minute, 0, 59)}:00"
        months, days = _listed(month, 1, 12), _listed(day, 1, 31)
        week = sorted({value % 7 for value in weekday}, key=lambda d: (d - 1) % 7)
        named = "" if len(week) == 7 else ",".join(_DAYS[d].capitalize() for d in week) + " "
        _, _, days_text, _, week_text = self.text.split()
        if days_text.startswith("*") or week_text.startswith("*"):
            return [f"{named}*-{months}-{days} {at}"]
        return [f"*-{months}-{days} {at}", f"{named}*-{months}-* {at}"]


def _values(
    word: str, what: str, least: int, most: int, names: tuple[str, ...], *, faults: list[str]
) -> tuple[int, ...]:
    found: set[int] = set()
    for part in word.split(","):
        match = _PART.fullmatch(part)
        start, end, step = match.groups() if match else (None, None, None)
        if start is None or (start == "*" and end is not None) or step == "0":
            faults.append(f"{what}: {part!r} is no value, range or step")
            continue
        low = least if start == "*" else _number(start, least, names)
        high = most if start == "*" or (end is None and step is not None) else low
        high = high if end is None else _number(end, least, names)
        if low is None or high is None or not least <= low <= most or not least <= high <= most:
            also = f", or {names[0]} to {names[-1]}" if names else ""
            faults.append(f"{what}: {part!r} is not within {least} to {most}{also}")
        elif high < low:
            faults.append(f"{what}: the range {part!r} ends before it starts")
        else:
            found.update(range(low, high + 1, int(step or 1)))
    return tuple(sorted(found))


def _number(text: str, least: int, names: tuple[str, ...]) -> int | None:
    if text.lower() in names:
        return names.index(text.lower()) + least
    return int(text) if text.isascii() and text.isdigit() else None


def _listed(values: Sequence[int], least: int, most: int) -> str:
    """``*``, or the values with ranges of three and more drawn together."""
    if len(values) == most - least + 1:
        return "*"
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    parts = [f"{r[0]:02d}..{r[-1]:02d}" if len(r) > 2 else ",".join(f"{v:02d}" for v in r) for r in runs]
    return ",".join(parts)


@dataclass(frozen=True)
class Schedule:
    """A pipeline at given times, with everything that a scheduler's bare surroundings do not know."""

    name: str
    cron: Cron
    folder: str
    command: tuple[str, ...]
    log: str
    lock: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, pipeline: Pipeline, cron: str, given: Mapping[str, Any]) -> Schedule:
        """The schedule of a pipeline, with the values of ``given`` that name its parameters.

        Raises:
            InvalidValue: the cron line is wrong, a path or a value holds a line end, or the store's address a password.
        """
        folder, path = project(pipeline)
        name = f"nbmlops-{slug(pipeline.spec.name, 60)}"
        values = [word for n in given for word in ("-p", f"{n}={as_text(pipeline.params[n])}")]
        command = (sys.executable, "-m", "nbmlops", "pipeline", "run", path, *values)
        logs = f"{folder}/logs/{name}"
        made = cls(name, Cron.parse(cron), folder, command, f"{logs}.log", f"{logs}.lock", _environment())
        texts = (folder, *command, *made.environment.values())
        if faults := [f"{text!r} holds a control character" for text in texts if not text.isprintable()]:
            raise InvalidValue.of("the schedule's command", faults, "a crontab's line and a unit's have only one line")
        return made

    def words(self) -> list[str]:
        """The command, which ends at once where the flow before is still running."""
        flock = shutil.which("flock") or "/usr/bin/flock"
        return [flock, "--nonblock", "--conflict-exit-code", str(_BUSY), self.lock, *self.command]

    def crontab(self) -> str:
        """One line for a crontab, with a mark by which it is found again."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        folder, logs = shlex.quote(self.folder), shlex.quote(str(Path(self.log).parent))
        run = " ".join([*variables, shlex.join(self.words())])
        line = f"cd {folder} && mkdir -p {logs} && {run} >> {shlex.quote(self.log)} 2>&1 {self.mark()}"
        # A per cent sign is a line end to cron, also within quotes.
        return f"{self.cron.text} " + line.replace("%", "\\%")

    def mark(self) -> str:
        """The comment at the end of the line."""
        return f"# {self.name}"

    def units(self) -> dict[str, str]:
        """A service and a timer for systemd."""
        service = [
            "[Unit]",
            f"Description=nbmlops pipeline {_unit(self.name)}",
            "[Service]",
            "Type=oneshot",
            f"WorkingDirectory={_unit(self.folder)}",
            *(f"Environment={_unit_word(f'{name}={value}')}" for name, value in self.environment.items()),
            f"ExecStart={' '.join(_unit_word(word.replace('$', '$$')) for word in self.words())}",
            f"SuccessExitStatus={_BUSY}",
            "# systemd makes the file, and not its folder.",
            f"StandardOutput=append:{_unit(self.log)}",
            f"StandardError=append:{_unit(self.log)}",
        ]
        timer = [
            "[Unit]",
            f"Description=times of {self.name} ({self.cron.text})".replace("%", "%%"),
            "[Timer]",
            *(f"OnCalendar={calendar}" for calendar in self.cron.calendars()),
            "Persistent=true",
            "[Install]",
            "WantedBy=timers.target",
        ]
        return {f"{self.name}.service": "\n".join(service) + "\n", f"{self.name}.timer": "\n".join(timer) + "\n"}


def _environment() -> dict[str, str]:
    """Where the store is, if only the environment says so; a scheduler has another one."""
    found = {}
    for name in ("store", "artifacts"):
        setting = settings.resolve(name)
        if not setting.origin.startswith("NBMLOPS_"):
            continue
        value = str(setting.value)
        if "://" in value and "@" in value:
            hint = "give it in a file that only you can read: PGPASSFILE, or the scheduler's own environment"
            raise InvalidValue(f"{setting.origin} holds a name or password, which would stand in the schedule", hint)
        found[setting.origin] = value if "://" in value else str(Path(value).resolve())
    return found


def _unit(text: str) -> str:
    return text.replace("%", "%%")


def _unit_word(word: str) -> str:
    """One word of a unit's command line; see systemd.syntax(7), "Quoting"."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_unit(escaped)}"'


def install(schedule: Schedule, to: str, folder: str | Path | None = None) -> str:
    """Put the schedule where its scheduler reads it, in the place of an earlier one; says what is left to do.

    Raises:
        StoreFault: that cannot be read or written; then nothing was changed.
    """
    return _install_units(schedule, folder) if to == "systemd" else _install_line(schedule)


def _install_units(schedule: Schedule, folder: str | Path | None) -> str:
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
    place = Path(folder) if folder is not None else base
    try:
        place.mkdir(parents=True, exist_ok=True)
        Path(schedule.log).parent.mkdir(parents=True, exist_ok=True)
        for name, text in schedule.units().items():
            part = place / f"{name}.part"
            part.write_text(text, encoding="utf-8")
            part.replace(place / name)
    except OSError as error:
        raise StoreFault(f"cannot write to {place}: {error.strerror}", "give another folder") from error
    timer = f"{schedule.name}.timer"
    return f"written to {place}; now: systemctl --user daemon-reload && systemctl --user enable --now {timer}"


def _install_line(schedule: Schedule) -> str:
    """Read the crontab, and give it back with this line in it; what else is there stays as it is."""
    try:
        listed = subprocess.run(["crontab", "-l"], capture_output=True, text=True, timeout=30)
        if listed.returncode != 0 and "no crontab" not in listed.stderr.lower():
            raise StoreFault(f"crontab -l failed: {listed.stderr.strip()}", "nothing was changed")
        kept = listed.stdout if listed.returncode == 0 else ""
        lines = [line for line in kept.splitlines() if not line.endswith(f" {schedule.mark()}")]
        table = "\n".join([*lines, schedule.crontab()]) + "\n"
        done = subprocess.run(["crontab", "-"], input=table, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        raise StoreFault(f"there is no crontab to write to: {error}", "print the line, or use --to systemd") from error
    if done.returncode != 0:
        raise StoreFault(f"crontab refused the line: {done.stderr.strip()}", "nothing was changed")
    return "written to your crontab"
