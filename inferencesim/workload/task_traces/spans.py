"""What a trace of tasks is once it is read: for each task a tree of spans, as it was recorded.

A span is a call, a tool, or a group: an agent, a session, a tool in which calls
are made. What of a group began after something else of it had ended is taken to
have waited for it; groups beside each other wait for each other only as wholes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from inferencesim.errors import InputError
from inferencesim.workload.traces.record import MalformedRow, notes_of, reject

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from inferencesim.workload.traces.record import ReadOptions, TraceNote

#: What a trace knows of times. Where calls have no ends nobody knows how long its agents thought; where they have no
#: starts only that is known.
Times = Literal["recorded", "started"]

#: Beyond this a count of tokens is a slipped column, not a request.
_MOST_TOKENS = 2**31


@dataclass(slots=True)
class Span:
    """Something that was done, from its start to its end.

    Attributes
    ----------
    kind : str
        A ``group`` has nothing but children; a ``call`` and a ``tool`` have none.
    start_s, end_s : float
        In seconds since the trace's zero.
    name : str
        Of a tool or a group.
    agent, model : str
        Who called, and what was called; "" is unknown.
    prompt_tokens, output_tokens : int
        Of a call.
    blocks : array of int64, or None
        Hash ids of the prompt's cache blocks.
    shares : tuple of Span and int, or None
        An earlier call of the task, and how many tokens of that call's prompt and answer this prompt begins with.
    children : list of Span
        Of a group.
    """

    kind: Literal["call", "tool", "group"]
    start_s: float
    end_s: float
    name: str = ""
    agent: str = ""
    model: str = ""
    prompt_tokens: int = 0
    output_tokens: int = 0
    blocks: array[int] | None = None
    shares: tuple[Span, int] | None = None
    children: list[Span] = field(default_factory=list)

    def leaves(self) -> Iterator[Span]:
        """Yield the calls and tools of a span, itself included."""
        if self.kind != "group":
            yield self
        for child in self.children:
            yield from child.leaves()

    def calls(self) -> Iterator[Span]:
        """Yield the calls of a span, itself included."""
        return (leaf for leaf in self.leaves() if leaf.kind == "call")


@dataclass(frozen=True)
class TaskTrace:
    """Tasks in order of their starts.

    Attributes
    ----------
    source, format : str
        The file, and the id of the reader.
    tasks : tuple of Span
        A group each, from the task's start to its end.
    times : tuple of str
        What is known of times.
    block_size : int or None
        Tokens per block of the hashes; None without any.
    malformed : tuple of MalformedRow
        Rows that were left out because they make no sense.
    failed : int
        Calls that were left out because nothing was generated; the time they took is waited.
    notes : tuple of str
        What the reader had to assume.
    """

    source: str
    format: str
    tasks: tuple[Span, ...]
    times: tuple[Times, ...] = ("recorded", "started")
    block_size: int | None = None
    malformed: tuple[MalformedRow, ...] = ()
    failed: int = 0
    notes: tuple[str, ...] = ()

    def said(self) -> tuple[TraceNote, ...]:
        """Return the notes, and how many calls without an answer were left out."""
        what = "calls without an answer left out, while the time they took is waited"
        return notes_of(self.source, self.failed, what, self.notes)


class Tasks:
    """The usable tasks of one file, and the malformed rows.

    Parameters
    ----------
    path : Path
        The file, for messages.
    options : ReadOptions
        Strictness and window.
    """

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self._path = path
        self._options = options
        self._roots: list[Span] = []
        self._seen = 0
        self.malformed: list[MalformedRow] = []
        self.failed = 0

    def reject(self, line: int, reason: str) -> None:
        """Count a malformed row, or raise it when strict."""
        self.malformed.append(reject(self._path, line, reason, self._options.strict))

    def is_call(self, line: int, prompt_tokens: int, output_tokens: int) -> bool:
        """Say whether these are the tokens of a call that was answered; count what is not."""
        if prompt_tokens < 1 or output_tokens < 0 or max(prompt_tokens, output_tokens) > _MOST_TOKENS:
            self.reject(line, f"{prompt_tokens} prompt and {output_tokens} output tokens are those of no call")
            return False
        self.failed += output_tokens == 0
        return output_tokens > 0

    def add(self, root: Span) -> None:
        """Take a task, unless it has no calls or begins outside the window."""
        if next(root.calls(), None) is None:
            return
        self._seen += 1
        # What outlives the task that began it belongs to it.
        root.end_s = max(root.end_s, *(leaf.end_s for leaf in root.leaves()))
        if self._options.start_s <= root.start_s < self._options.end_s:
            self._roots.append(root)

    def trace(
        self,
        format: str,
        *,
        times: tuple[Times, ...] = ("recorded", "started"),
        block_size: int | None = None,
        notes: Sequence[str] = (),
    ) -> TaskTrace:
        """Return the trace.

        Raises
        ------
        InputError
            If the file has no usable task, or none begins in the window.
        """
        if not self._roots:
            what, remedy = "the trace has no usable task", "Check that the file is complete and of this format."
            if self._seen:
                window = f"[{self._options.start_s:g} s, {self._options.end_s:g} s)"
                what, remedy = f"no task begins in the window {window}", "Times count from the trace's start."
            elif self.malformed:
                what += f" (the first of {len(self.malformed)} malformed rows: {self.malformed[0].reason})"
            raise InputError(str(self._path), what, remedy)
        return TaskTrace(
            source=str(self._path),
            format=format,
            tasks=tuple(sorted(self._roots, key=lambda root: root.start_s)),
            times=times,
            block_size=block_size,
            malformed=tuple(self.malformed),
            failed=self.failed,
            notes=tuple(notes),
        )


def share_contexts(group: Span) -> None:
    """Say what the prompts of a group begin with, where its trace does not.

    A call that begins after another of the same agent, and whose prompt is
    longer than prompt and answer of that one, is taken to continue it: agents
    append to what was said. A shorter prompt means that the context was
    forgotten.
    """
    asked: dict[tuple[str, str], list[Span]] = {}
    for child in sorted(group.children, key=lambda child: child.start_s):
        if child.kind == "group":
            share_contexts(child)
        elif child.kind == "call" and child.blocks is None:
            others = asked.setdefault((child.agent, child.model), [])
            answered = [other for other in others if other.end_s <= child.start_s]
            if child.shares is None and answered:
                before = max(answered, key=lambda other: other.end_s)
                said = before.prompt_tokens + before.output_tokens
                if child.prompt_tokens > said:
                    child.shares = (before, said)
            others.append(child)
