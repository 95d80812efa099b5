"""OpenTelemetry traces of generative AI (semantic conventions ``gen_ai``): spans with parents, as JSON.

A file is one object with ``spans``, or has one such object per line. A span has
``trace_id``, ``span_id``, ``parent_span_id``, ``start_time`` and ``end_time``
(ISO 8601, or nanoseconds since 1970), and ``attributes``. Each ``trace_id`` is
a task. By ``gen_ai.operation.name`` a span is a call (``chat``,
``text_completion``, ``generate_content``, ``embeddings``) or a tool
(``execute_tool``, ``retrieval``); any other span that calls or tools stand in
is a group, and so is a call with calls inside, which a proxy made, and a tool
with calls inside. A span that began when its parent had ended comes after it.

Tokens are those of ``gen_ai.usage``, under their new or old names. Where they
are not recorded, a token counts for four characters of the recorded messages.
Of two prompts whose first messages are equal, the later one is taken to begin
with the earlier one's tokens, by their share of its characters.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from inferencesim.workload.task_traces.spans import Span, Tasks, share_contexts
from inferencesim.workload.traces.rows import open_text, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inferencesim.workload.task_traces.spans import TaskTrace
    from inferencesim.workload.traces.record import ReadOptions

_CALLS = ("chat", "text_completion", "generate_content", "embeddings")
_TOOLS = ("execute_tool", "retrieval")

#: Of English text; OpenAI's rule of thumb ("What are tokens and how to count them?"), an assumption for others.
CHARACTERS_PER_TOKEN = 4.0

_PROMPT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
_OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")


@dataclass
class _Recorded:
    """A span of the file, and where it belongs."""

    parent: str | None
    span: Span
    messages: list[str] = field(default_factory=list)
    answer: str = ""


class OtelReader:
    """Reads exported spans; calls have the names of their agent and their model, tools their own."""

    def sniff(self, path: Path) -> bool:
        """Say whether the file begins as exported spans do."""
        if not path.is_file():
            return False
        try:
            with open_text(path) as file:
                start = file.read(4000)
        except (OSError, EOFError, ValueError):
            return False
        return start.lstrip().startswith("{") and '"spans"' in start and '"trace_id"' in start

    def read(self, path: Path, options: ReadOptions) -> TaskTrace:
        """Read the file; see :func:`inferencesim.workload.task_traces.reading.read_tasks`."""
        tasks = Tasks(path, options)
        with open_text(path) as file:
            text = file.read()
        traces = _Traces(tasks, text)
        for line, document in _documents(tasks, text):
            traces.take(line, document)
        zero_s = min((each.span.start_s for spans in traces.spans.values() for each in spans.values()), default=0.0)
        for spans in traces.spans.values():
            root = _tree(spans)
            _shift(root, -zero_s)
            tasks.add(root)
        return tasks.trace("otel", notes=traces.notes())


class _Traces:
    """The spans of a file by trace and id."""

    def __init__(self, tasks: Tasks, text: str) -> None:
        self.spans: dict[str, dict[str, _Recorded]] = {}
        self._tasks = tasks
        self._text = text
        self._estimated = 0

    def take(self, line: int, document: Any) -> None:
        """Take the spans of a document that begins on a line."""
        spans = document.get("spans") if isinstance(document, dict) else None
        if not isinstance(spans, list):
            self._tasks.reject(line, "not an object with a list of spans")
            return
        for entry in spans:
            try:
                trace, number = str(entry["trace_id"]), str(entry["span_id"])
                at = self._line_of(number, line)
                recorded = self._recorded(entry, at)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as problem:
                self._tasks.reject(line, f"not a span with ids, times and attributes ({problem}): {str(entry)[:80]!r}")
                continue
            if recorded is not None:
                self.spans.setdefault(trace, {})[number] = recorded

    def _line_of(self, number: str, line: int) -> int:
        place = self._text.find(f'"span_id": {json.dumps(number)}')
        return line if place < 0 else self._text.count("\n", 0, place) + 1

    def _recorded(self, entry: dict[str, Any], line: int) -> _Recorded | None:
        said = entry["attributes"]
        start_s, end_s = _seconds(entry["start_time"]), _seconds(entry["end_time"])
        if end_s < start_s:
            self._tasks.reject(line, f"the span ends {start_s - end_s:g} s before it starts")
            return None
        parent = entry.get("parent_span_id")
        operation = said.get("gen_ai.operation.name")
        span = Span("group", start_s, end_s)
        span.agent = str(said.get("gen_ai.agent.name", ""))
        span.name = str(said.get("gen_ai.tool.name", entry.get("name", "")))
        recorded = _Recorded(None if not parent else str(parent), span)
        if operation in _TOOLS:
            span.kind = "tool"
        elif operation in _CALLS:
            span.model = str(said.get("gen_ai.request.model", said.get("gen_ai.response.model", "")))
            recorded.messages = _contents(said.get("gen_ai.input.messages"))
            answer = said.get("gen_ai.output.text", said.get("gen_ai.output.messages", ""))
            recorded.answer = answer if "gen_ai.output.text" in said else "".join(_contents(answer))
            span.prompt_tokens = self._tokens(said, _PROMPT, sum(map(len, recorded.messages)))
            span.output_tokens = self._tokens(said, _OUTPUT, len(recorded.answer))
            if operation == "embeddings":
                span.output_tokens = 1
            span.kind = "call"
            if not self._tasks.is_call(line, span.prompt_tokens, span.output_tokens):
                span.kind = "group"
        return recorded

    def _tokens(self, said: dict[str, Any], names: tuple[str, str], characters: int) -> int:
        for name in names:
            if name in said:
                return whole_number(said[name])
        self._estimated += 1
        return math.ceil(characters / CHARACTERS_PER_TOKEN)

    def notes(self) -> list[str]:
        """Say what had to be assumed."""
        if not self._estimated:
            return []
        what = f"{self._estimated} counts of tokens are not recorded"
        return [f"{what}: {CHARACTERS_PER_TOKEN:g} characters of the messages count for one"]


def _documents(tasks: Tasks, text: str) -> Iterator[tuple[int, Any]]:
    """Yield the objects of a file: the whole of it, or one per line."""
    try:
        yield 1, json.loads(text)
        return
    except ValueError as problem:
        if "\n" not in text.strip() or not isinstance(_parsed(text.strip().split("\n", 1)[0]), dict):
            tasks.reject(getattr(problem, "lineno", 1), f"not JSON: {problem}")
            return
    for line, row in enumerate(text.splitlines(), start=1):
        document = _parsed(row)
        if document is not None:
            yield line, document
        elif row.strip():
            tasks.reject(line, f"not JSON: {row.strip()[:80]!r}")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _seconds(value: object) -> float:
    if isinstance(value, str) and not value.isdigit():
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(str(value)) / 1e9


def _contents(messages: Any) -> list[str]:
    """Return what is said in each message; they may come as JSON in a string."""
    if isinstance(messages, str):
        messages = _parsed(messages)
    if not isinstance(messages, list):
        return []
    return [_content(each) for each in messages]


def _content(message: Any) -> str:
    content = message.get("content", message.get("parts", "")) if isinstance(message, dict) else message
    return content if isinstance(content, str) else json.dumps(content, sort_keys=True)


def _tree(spans: dict[str, _Recorded]) -> Span:
    """Return the task that the spans of a trace make."""
    times = [(each.span.start_s, each.span.end_s) for each in spans.values()]
    root = Span("group", min(start_s for start_s, _ in times), max(end_s for _, end_s in times))
    for number, each in spans.items():
        each.parent = _parent(spans, number, each)
        if number in _above(spans, each):
            each.parent = None
    calls_inside: set[str] = set()
    for each in spans.values():
        if each.span.kind == "call":
            calls_inside.update(_above(spans, each))
    for number in calls_inside:
        spans[number].span.kind = "group"
    calls = [each for each in spans.values() if each.span.kind == "call"]
    for each in spans.values():
        above = next((number for number in _above(spans, each) if spans[number].span.kind != "group"), None)
        if above is None:
            # What a call or a tool did inside is part of the time it took.
            (root if each.parent is None else spans[each.parent].span).children.append(each.span)
    if any(each.messages for each in calls):
        _share_messages(calls)
    else:
        share_contexts(root)
    return root


def _above(spans: dict[str, _Recorded], each: _Recorded) -> Iterator[str]:
    """Yield the spans around one, from the inside."""
    seen: set[str] = set()
    while each.parent is not None and each.parent not in seen:
        seen.add(each.parent)
        yield each.parent
        each = spans[each.parent]


def _parent(spans: dict[str, _Recorded], number: str, each: _Recorded) -> str | None:
    """Return the nearest span around one that was not over when it began; None is the task."""
    seen, above = {number}, each.parent
    while above is not None:
        if above not in spans or above in seen:
            return None
        if spans[above].span.end_s > each.span.start_s:
            return above
        seen.add(above)
        above = spans[above].parent
    return None


def _share_messages(calls: list[_Recorded]) -> None:
    """Say which earlier prompt each prompt begins with, as far as messages are equal."""
    said: dict[tuple[str, ...], Span] = {}
    for each in sorted(calls, key=lambda each: each.span.start_s):
        messages, span = tuple(each.messages), each.span
        for count in range(len(messages), 0, -1):
            before = said.get(messages[:count])
            if before is not None:
                share = sum(map(len, messages[:count])) / max(1, sum(map(len, messages)))
                span.shares = (
                    before,
                    min(int(share * span.prompt_tokens), before.prompt_tokens + before.output_tokens),
                )
                break
        for count in range(1, len(messages) + 1):
            said.setdefault(messages[:count], span)
        said[(*messages, each.answer)] = span


def _shift(span: Span, by_s: float) -> None:
    span.start_s += by_s
    span.end_s += by_s
    for child in span.children:
        _shift(child, by_s)
