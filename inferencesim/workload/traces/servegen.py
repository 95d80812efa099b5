"""ServeGen (alibaba/ServeGen, Apache-2.0): not a list of requests but a description of clients, sampled here.

Per client a ``chunk-N-trace.csv`` without header, ``start_s, rate per s, cv,
pattern, shape, scale`` per window of (usually) 600 s, the pattern Gamma,
Weibull or empty for none; and a ``chunk-N-dataset.json``: window of (usually)
six hours → field → ``"{value: probability, …}"``. The folder they lie in, or the
published tar.

Gaps are drawn from the pattern with the published shape, scaled so that their
mean is 1/rate, in equilibrium at the start of each window. Prompt and output
are drawn independently; a multimodal prompt is its text and, for each image,
audio and video counted, its tokens. A client without length data gets lengths
of the others' requests, as a note says.
"""

from __future__ import annotations

import json
import math
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim.errors import InputError
from inferencesim.workload.streams import stream
from inferencesim.workload.traces.record import Label, MalformedRow, Trace, reject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from inferencesim.workload.traces.record import ReadOptions

_FILE = re.compile(r"chunk-(\d+)-(trace\.csv|dataset\.json)$")
_WINDOW_S = 600.0
_MOST_REQUESTS = 20_000_000
_TAR = (".tar", ".tar.xz", ".tar.gz", ".tgz", ".txz")


@dataclass(frozen=True)
class _Window:
    start_s: float
    length_s: float
    rate: float
    pattern: str
    shape: float


class ServeGenReader:
    """Samples the described clients; `client` can be selected by, as the number N of its files."""

    def sniff(self, path: Path) -> bool:
        """Say whether ServeGen's files lie in the folder itself, or the file is a tar."""
        if path.is_dir():
            return any(path.glob("chunk-*-trace.csv"))
        return path.is_file() and path.name.endswith(_TAR)

    def read(self, path: Path, options: ReadOptions) -> Trace:
        """Sample the clients; see :func:`inferencesim.workload.traces.reading.read_trace`."""
        malformed: list[MalformedRow] = []
        windows: dict[int, list[_Window]] = {}
        lengths: dict[int, _ClientLengths] = {}
        for client, name, text in _files(path):
            if name.suffix == ".csv":
                windows[client] = list(_windows(Path(name), text, options, malformed))
            else:
                lengths[client] = _ClientLengths(f"{path}: {name}", text)
        expected = sum(w.rate * _overlap_s(w, options) for each in windows.values() for w in each)
        if expected > _MOST_REQUESTS:
            what = f"about {expected:.3g} requests lie in the window"
            raise InputError(str(path), what, f"Choose a shorter one: at most {_MOST_REQUESTS:,} are read at once.")
        columns = [_sample_client(client, windows[client], lengths.get(client), options) for client in sorted(windows)]
        time_s = np.concatenate([each[0] for each in columns]) if columns else np.empty(0)
        if time_s.size == 0:
            remedy = "Choose a window in which the clients are active." if windows else "Expected chunk-N-trace.csv."
            raise InputError(str(path), "the trace has no request in the window", remedy)
        prompt, output = (np.concatenate([each[i] for each in columns]) for i in (1, 2))
        codes = np.repeat(np.arange(len(columns)), [len(each[0]) for each in columns])
        prompt, output, note = _lend_lengths(path, prompt, output, options.seed)
        order = np.argsort(time_s, kind="stable")
        return Trace(
            source=str(path),
            format="servegen",
            time_s=time_s[order],
            prompt_tokens=prompt[order],
            output_tokens=output[order],
            session=np.full(len(order), -1, dtype=np.int64),
            labels=(Label("client", codes[order].astype(np.int64), tuple(str(c) for c in sorted(windows))),),
            malformed=tuple(malformed),
            notes=note,
        )


def _files(path: Path) -> Iterator[tuple[int, PurePosixPath, str]]:
    """Yield client, name and text of each file, in whatever order they lie."""
    if path.is_dir():
        for file in sorted(path.glob("chunk-*")):
            match = _FILE.search(file.name)
            if match:
                yield int(match.group(1)), PurePosixPath(file.as_posix()), file.read_text("utf-8", "replace")
        return
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                match = _FILE.search(member.name)
                content = archive.extractfile(member) if match else None
                if match and content is not None:
                    yield (
                        int(match.group(1)),
                        PurePosixPath(member.name),
                        content.read().decode("utf-8", "replace"),
                    )
    except tarfile.TarError as problem:
        raise InputError(str(path), "the file is no tar", "ServeGen is published as folders.") from problem


def _windows(name: Path, text: str, options: ReadOptions, malformed: list[MalformedRow]) -> Iterator[_Window]:
    parsed: list[_Window] = []
    for line, row in enumerate(text.splitlines(), start=1):
        fields = row.split(",")
        if fields == [""]:
            continue
        try:
            start_s, rate, _cv = (float(field) for field in fields[:3])
            pattern, shape = fields[3].strip(), float(fields[4])
            usable = start_s >= 0 and 0 <= rate < math.inf and pattern in {"", "Gamma", "Weibull"}
            usable = usable and (pattern == "" or 0 < shape < math.inf)
        except (ValueError, IndexError):
            usable = False
        if not usable:
            reason = f"not a start, rate, cv, pattern and two parameters: {row[:80]!r}"
            malformed.append(reject(name, line, reason, options.strict))
        elif parsed and start_s <= parsed[-1].start_s:
            reason = f"time runs backwards, from {parsed[-1].start_s} s to {start_s} s"
            malformed.append(reject(name, line, reason, options.strict))
        else:
            # An empty pattern is a window without requests, whatever its rate says.
            parsed.append(_Window(start_s, _WINDOW_S, rate if pattern else 0.0, pattern, shape))
    for window, following in zip(parsed, [*parsed[1:], None], strict=True):
        length_s = _WINDOW_S if following is None else min(_WINDOW_S, following.start_s - window.start_s)
        yield _Window(window.start_s, length_s, window.rate, window.pattern, window.shape)


def _overlap_s(window: _Window, options: ReadOptions) -> float:
    end_s = min(window.start_s + window.length_s, options.end_s)
    return max(0.0, end_s - max(window.start_s, options.start_s))


_Columns = tuple["NDArray[np.float64]", "NDArray[np.int64]", "NDArray[np.int64]"]


def _sample_client(
    client: int, windows: list[_Window], lengths: _ClientLengths | None, options: ReadOptions
) -> _Columns:
    """Return times, prompt and output tokens (0 where unknown) of one client."""
    times, prompts, outputs = [np.empty(0)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for window in windows:
        if window.rate == 0.0 or _overlap_s(window, options) == 0.0:
            continue
        # Keyed by client and window: what else is read does not change what happens in this one.
        key = ("servegen", client, round(window.start_s))
        offsets = _renewal(window, stream(options.seed, *key, "arrivals"))
        n = len(offsets)
        generator = stream(options.seed, *key, "lengths")
        drawn = None if lengths is None else lengths.sample(window.start_s, n, generator)
        prompt, output = drawn if drawn is not None else (np.zeros(n, np.int64), np.zeros(n, np.int64))
        moments = window.start_s + offsets
        inside = (moments >= options.start_s) & (moments < options.end_s)
        times.append(moments[inside])
        prompts.append(prompt[inside])
        outputs.append(output[inside])
    return np.concatenate(times), np.concatenate(prompts), np.concatenate(outputs)


def _renewal(window: _Window, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return arrivals in [0, length) of a renewal process in equilibrium."""
    shape = window.shape
    if window.pattern == "Gamma":
        mean, variance = shape, shape
        biased = float(generator.standard_gamma(shape + 1.0))
    else:
        mean = math.gamma(1.0 + 1.0 / shape)
        variance = math.gamma(1.0 + 2.0 / shape) - mean**2
        # If E is exponential, E^(1/k) is Weibull; biased by its length, E becomes a gamma of 1 + 1/k.
        biased = float(generator.standard_gamma(1.0 + 1.0 / shape)) ** (1.0 / shape)
    scale = 1.0 / (window.rate * mean)
    points = [np.array([generator.random() * biased * scale])]
    spread = max(1.0, math.sqrt(variance) / mean)
    while points[-1][-1] < window.length_s:
        missing = (window.length_s - float(points[-1][-1])) * window.rate
        n = int(missing + 5.0 * spread * math.sqrt(missing)) + 16
        gaps = generator.standard_gamma(shape, n) if window.pattern == "Gamma" else generator.weibull(shape, n)
        points.append(points[-1][-1] + np.cumsum(gaps * scale))
    merged = np.concatenate(points)
    return merged[: np.searchsorted(merged, window.length_s)]


class _ClientLengths:
    """The length tables of one client, parsed as they are needed."""

    def __init__(self, where: str, text: str) -> None:
        self._where = where
        try:
            tables: dict[str, dict[str, str]] = json.loads(text)
            self._tables = sorted((float(start), fields) for start, fields in tables.items())
        except (ValueError, AttributeError) as problem:
            raise InputError(where, "not a ServeGen dataset", "Expected window → field → table.") from problem
        self._parsed: dict[tuple[int, str], tuple[NDArray[np.int64], NDArray[np.float64]] | None] = {}

    def sample(
        self, start_s: float, n: int, generator: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Return prompt and output tokens of `n` requests of the window at `start_s`, None without data."""
        index = self._window(start_s)
        if index is None:
            return None
        output = self._draw(index, "output_tokens", n, generator)
        text_field = "text_tokens" if "text_tokens" in self._tables[index][1] else "input_tokens"
        prompt = self._draw(index, text_field, n, generator)
        for medium in ("image", "audio", "video"):
            if self._table(index, f"{medium}_tokens") is not None:
                prompt = prompt + self._media(index, medium, n, generator)
        return np.maximum(prompt, 1), np.maximum(output, 1)

    def _window(self, start_s: float) -> int | None:
        """Return the table nearest in time that has data, the one that contains `start_s` first of all."""
        starts = [start for start, _ in self._tables]
        current = max(int(np.searchsorted(starts, start_s, side="right")) - 1, 0)
        for index in sorted(range(len(starts)), key=lambda each: (abs(each - current), each)):
            fields = self._tables[index][1]
            prompt = "text_tokens" if "text_tokens" in fields else "input_tokens"
            if self._table(index, prompt) is not None and self._table(index, "output_tokens") is not None:
                return index
        return None

    def _media(self, index: int, medium: str, n: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return the tokens of all images (audios, videos) of each request: the tables are per piece."""
        if self._table(index, f"{medium}_count") is None:
            return self._draw(index, f"{medium}_tokens", n, generator)
        counts = np.maximum(self._draw(index, f"{medium}_count", n, generator), 0)
        pieces = self._draw(index, f"{medium}_tokens", int(counts.sum()), generator)
        summed = np.concatenate(([0], np.cumsum(pieces)))
        ends = np.cumsum(counts)
        return np.asarray(summed[ends] - summed[ends - counts], dtype=np.int64)

    def _draw(self, index: int, field: str, n: int, generator: np.random.Generator) -> NDArray[np.int64]:
        table = self._table(index, field)
        if table is None:
            return np.zeros(n, dtype=np.int64)
        values, cumulative = table
        return values[np.searchsorted(cumulative, generator.random(n), side="right")]

    def _table(self, index: int, field: str) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
        if (index, field) not in self._parsed:
            self._parsed[index, field] = self._parse(self._tables[index][1].get(field))
        return self._parsed[index, field]

    def _parse(self, text: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
        inner = "" if text is None else str(text).strip().strip("{}")
        if not inner:
            return None
        try:
            numbers = np.array(inner.replace(":", ",").split(","), dtype=np.float64)
            values, cumulative = numbers[::2].astype(np.int64), np.cumsum(numbers[1::2])
            cumulative = cumulative / cumulative[-1]
        except (ValueError, IndexError) as problem:
            raise InputError(self._where, f"not a table of probabilities: {inner[:60]!r}") from problem
        # Rounding in the sum must not leave a gap above the last value.
        cumulative[-1] = 1.0
        return values, cumulative


def _lend_lengths(
    path: Path, prompt: NDArray[np.int64], output: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """Give requests of clients without length data the lengths of requests that have them."""
    known = np.flatnonzero(prompt > 0)
    unknown = np.flatnonzero(prompt == 0)
    if unknown.size == 0:
        return prompt, output, ()
    if known.size == 0:
        what = "no client that is active in the window has length data"
        raise InputError(str(path), what, "Add chunk-N-dataset.json, or choose another window.")
    lent = known[stream(seed, "servegen", "lent").integers(0, known.size, unknown.size)]
    prompt, output = prompt.copy(), output.copy()
    prompt[unknown], output[unknown] = prompt[lent], output[lent]
    note = f"{unknown.size} of {len(prompt)} requests lack length data and got lengths of the others"
    return prompt, output, (note,)
