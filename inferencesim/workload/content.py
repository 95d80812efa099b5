"""What is in the requests of a class: its lengths by kind of work, its prefix, and what is predicted of its answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from inferencesim.workload.lengths import mean, sample, sample_seconds
from inferencesim.workload.streams import session_base, stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from inferencesim.scenario.workload import WorkloadClass

    Numbers: TypeAlias = NDArray[np.float64]

#: Audio encoders such as Whisper's hear windows of so many seconds, the last filled up with silence (Radford et al.
#: 2022, "Robust speech recognition via large-scale weak supervision", section 2.2).
WINDOW_S = 30.0

#: Pixels along one side of the square that is one latent token: an autoencoder's 8, patched by 2 (Esser et al. 2024,
#: "Scaling rectified flow transformers for high-resolution image synthesis", section 4).
PIXELS_PER_LATENT = 16

_TIMES = ("audio", "reply")


class Content(NamedTuple):
    """Columns of equal length; one row per request, or its means.

    Parameters
    ----------
    prompt_tokens, output_tokens : numpy.ndarray
        Tokens of the request's own: without shared prefix and conversation.
    media_units : numpy.ndarray
        Work of an encoder: images, or windows of 30 s of audio.
    media_s : numpy.ndarray
        Seconds of audio that go in.
    """

    prompt_tokens: Numbers
    output_tokens: Numbers
    media_units: Numbers
    media_s: Numbers


@dataclass(frozen=True)
class Draws:
    """`n` draws of each quantity of a class, every quantity from a stream of its own.

    Parameters
    ----------
    each : WorkloadClass
        The class.
    n : int
        How many requests.
    seed : int
        The scenario's seed.
    where : str
        Place of the class, named if a distribution is not registered.
    block : tuple of str or int
        What tells these streams from others of the class: none, or the block of turns.
    """

    each: WorkloadClass
    n: int
    seed: int
    where: str
    block: tuple[str | int, ...] = ()

    def stream(self, purpose: str) -> np.random.Generator:
        """Return the class's stream for a purpose."""
        return stream(self.seed, self.each.name, purpose, *self.block)

    def content(self) -> Content:
        """Draw what the kind of work needs; columns of shape (n,)."""

        def drawn(name: str) -> Numbers:
            lengths, generator, place = getattr(self.each, name), self.stream(name), f"{self.where}.{name}.distribution"
            if name in _TIMES:
                return sample_seconds(lengths, self.n, generator, place)
            return sample(lengths, self.n, generator, place).astype(np.float64)

        return Content(*(np.broadcast_to(column, self.n) for column in _content(self.each, drawn)))

    def cancel_after_s(self) -> Numbers:
        """Draw when clients cancel, in seconds from arrival; inf where they do not."""
        cancellation = self.each.cancellation
        if cancellation is None:
            return np.full(self.n, math.inf)
        cancelled = self.stream("cancelled").random(self.n) < cancellation.share
        place = f"{self.where}.cancellation.after.distribution"
        after_s = sample_seconds(cancellation.after, self.n, self.stream("cancel_after"), place)
        return np.where(cancelled, after_s, math.inf)

    def predicted_tokens(self, output_tokens: NDArray[np.int64]) -> Numbers:
        """Draw what is predicted of answers whose true lengths are given; NaN where nothing is."""
        prediction = self.each.length_prediction
        if prediction is None:
            return np.full(self.n, math.nan)
        error = np.exp(prediction.sigma * self.stream("length_prediction").standard_normal(self.n))
        return np.asarray(output_tokens * prediction.bias * error)

    def sessions(self) -> NDArray[np.int64]:
        """Draw the session of each request, one that no other class has; −1 where the class has none."""
        if self.each.sessions is None:
            return np.full(self.n, -1, dtype=np.int64)
        drawn = self.stream("session").integers(0, self.each.sessions.active, self.n)
        return session_base(self.each.name) + drawn

    def variants(self) -> NDArray[np.int64]:
        """Draw the variant of the shared prefix; −1 where the class has none."""
        prefix = self.each.shared_prefix
        if prefix is None:
            return np.full(self.n, -1, dtype=np.int64)
        return self.stream("prefix").integers(0, prefix.variants, self.n)


def mean_content(each: WorkloadClass) -> Content:
    """Return the means of what :meth:`Draws.content` draws, before rounding."""
    return Content(
        *(np.asarray(column) for column in _content(each, lambda name: np.asarray(mean(getattr(each, name)))))
    )


def whole_tokens(tokens: Numbers) -> NDArray[np.int64]:
    """Return the nearest whole numbers of tokens, each at least 1."""
    return np.maximum(np.rint(tokens).astype(np.int64), 1)


def shared_tokens(each: WorkloadClass) -> int:
    """Return the tokens of the shared prefix, with which every prompt of the class begins."""
    return 0 if each.shared_prefix is None else each.shared_prefix.tokens


def prefix_ids(variants: NDArray[np.int64], index: int) -> NDArray[np.int64]:
    """Return ids of shared prefixes that those of other classes do not meet; −1 where there is none."""
    return np.where(variants >= 0, (index << 20) + variants, -1)


def _content(each: WorkloadClass, value: Callable[[str], Numbers]) -> tuple[Numbers | float, ...]:
    """Return content from the value, drawn or mean, of each distribution its kind names.

    An image is made by `steps` passes over its latent tokens: it counts as a
    prompt of so many, and one token that comes out.
    """
    rate = each.tokens_per_second or 0.0
    match each.kind:
        case "chat":
            return value("prompt_tokens"), value("output_tokens"), 0.0, 0.0
        case "embedding" | "rerank" | "classify":
            return value("prompt_tokens"), 1.0, 0.0, 0.0
        case "transcription":
            audio_s = value("audio")
            written = value("output_tokens") if each.output_tokens is not None else rate * audio_s
            return value("prompt_tokens"), written, np.ceil(audio_s / WINDOW_S), audio_s
        case "speech":
            audio_s = value("audio")
            return rate * audio_s, rate * value("reply"), audio_s / WINDOW_S, audio_s
        case "image":
            width, height = each.resolution or (0, 0)
            latents = (width // PIXELS_PER_LATENT) * (height // PIXELS_PER_LATENT)
            return float(latents * (each.steps or 0)), 1.0, 0.0, 0.0
        case "vision":
            images = value("images")
            seen = images * (each.tokens_per_image or 0)
            return value("prompt_tokens") + seen, value("output_tokens"), images, 0.0
