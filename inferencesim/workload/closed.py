"""Draws of closed-loop clients, keyed by client and turn: never by who asks first."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from inferencesim.scenario.arrivals import Closed
from inferencesim.workload.content import Draws, mean_content, prefix_ids, shared_tokens, whole_tokens
from inferencesim.workload.conversations import history_ids, strangers, talk, within_class
from inferencesim.workload.lengths import sample, sample_seconds
from inferencesim.workload.streams import session_base

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.scenario.workload import Conversation, WorkloadClass
    from inferencesim.workload.conversations import Talk

_Number = TypeVar("_Number", bound=np.generic)

#: Turns of a client that are drawn together. Another number gives other draws.
TURNS_PER_BLOCK = 16

#: Clients and blocks of turns from which the mean lengths of a class with conversations are taken.
_MEAN_OF_CLIENTS, _MEAN_OF_BLOCKS = 64, 4


@dataclass(frozen=True)
class Turns:
    """One block of turns of some clients; columns of shape (clients, TURNS_PER_BLOCK).

    Parameters
    ----------
    think_s : numpy.ndarray
        float64, seconds a client thinks before it asks.
    prompt_tokens, output_tokens : numpy.ndarray
        int64, lengths of its request; of prompts with shared prefix and all the conversation so far.
    predicted_tokens : numpy.ndarray
        float64, what is predicted of `output_tokens`; NaN where nothing is.
    prefix : numpy.ndarray
        int64, id of the shared prefix its prompt begins with; −1 for none.
    history : numpy.ndarray
        int64, id of the conversation; −1 where the class has none.
    media_units, media_s : numpy.ndarray
        float64, encoder work and seconds of audio; see :class:`inferencesim.workload.content.Content`.
    session : numpy.ndarray
        int64, −1 where the class has neither sessions nor conversations.
    cancel_after_s : numpy.ndarray
        float64, seconds from arrival until the client cancels; inf if it does not.
    """

    think_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    predicted_tokens: NDArray[np.float64]
    prefix: NDArray[np.int64]
    history: NDArray[np.int64]
    media_units: NDArray[np.float64]
    media_s: NDArray[np.float64]
    session: NDArray[np.int64]
    cancel_after_s: NDArray[np.float64]


def draw_turns(each: WorkloadClass, seed: int, clients: int, block: int, index: int = 0) -> Turns:
    """Draw what the first `clients` of a closed-loop class do in turns [16 `block`, 16 (`block` + 1)).

    A draw depends on seed, class, client and turn alone, so that two policies
    meet the same clients although their turns come at other times and in
    another order. A block has one stream per quantity, in which every client
    has its place: how many clients are drawn makes no difference to any.

    Parameters
    ----------
    each : WorkloadClass
        A class whose arrivals are closed.
    seed : int
        The scenario's seed.
    clients : int
        How many, counted from client 0.
    block : int
        Which block of turns.
    index : int
        Position of the class in the scenario, for errors and for ids that no other class has.

    Returns
    -------
    Turns

    Raises
    ------
    ValueError
        If the class is not a closed-loop one.
    InputError
        If a distribution is not registered, or there are more conversations than ids have room for.
    """
    if not isinstance(each.arrivals, Closed):
        msg = f"class {each.name!r} is no closed loop"
        raise ValueError(msg)
    draws = _draws(each, seed, clients, block, index)
    content = draws.content()
    prompt_tokens = _by_client(shared_tokens(each) + whole_tokens(content.prompt_tokens))
    output_tokens = whole_tokens(content.output_tokens)
    variants = _by_client(draws.variants())
    session = _by_client(draws.sessions())
    history = np.full(session.shape, -1, dtype=np.int64)
    if each.conversation is not None:
        before = _standing(each, each.conversation, seed, max(clients, each.arrivals.clients), block)[:clients]
        said = _talk(draws, each.conversation, before)
        prompt_tokens, variants = said.prompt_tokens, said.variant
        history = history_ids(said.number, index, draws.where)
        session = session_base(each.name) + within_class(said.number)
    think_place = f"{draws.where}.arrivals.think_time.distribution"
    think_s = sample_seconds(each.arrivals.think_time, draws.n, draws.stream("think_time"), think_place)
    return Turns(
        think_s=_by_client(think_s),
        prompt_tokens=prompt_tokens,
        output_tokens=_by_client(output_tokens),
        predicted_tokens=_by_client(draws.predicted_tokens(output_tokens)),
        prefix=prefix_ids(variants, index),
        history=history,
        media_units=_by_client(content.media_units),
        media_s=_by_client(content.media_s),
        session=session,
        cancel_after_s=_by_client(draws.cancel_after_s()),
    )


def mean_lengths(each: WorkloadClass) -> tuple[float, float]:
    """Return the mean prompt and output tokens of a closed-loop class; with conversations, of a sample of its turns."""
    content = mean_content(each)
    if each.conversation is None:
        return shared_tokens(each) + float(content.prompt_tokens), float(content.output_tokens)
    prompts = [draw_turns(each, 0, _MEAN_OF_CLIENTS, block).prompt_tokens for block in range(_MEAN_OF_BLOCKS)]
    return float(np.mean(prompts)), float(content.output_tokens)


def _draws(each: WorkloadClass, seed: int, clients: int, block: int, index: int = 0) -> Draws:
    return Draws(each, clients * TURNS_PER_BLOCK, seed, f"workload[{index}]", ("turns", block))


def _by_client(drawn: NDArray[_Number]) -> NDArray[_Number]:
    return drawn.reshape(-1, TURNS_PER_BLOCK)


def _talk(draws: Draws, conversation: Conversation, before: NDArray[np.void]) -> Talk:
    """Play one block of turns from where its clients stand."""
    content = draws.content()
    place = f"{draws.where}.conversation.turns.distribution"
    turns = sample(conversation.turns, draws.n, draws.stream("conversation_turns"), place)
    return talk(
        draws.each,
        conversation,
        before,
        _by_client(whole_tokens(content.prompt_tokens)),
        _by_client(whole_tokens(content.output_tokens)),
        _by_client(turns),
        _by_client(draws.variants()),
    )


def _standing(each: WorkloadClass, conversation: Conversation, seed: int, clients: int, block: int) -> NDArray[np.void]:
    """Return where clients stand before a block: it follows from all earlier ones, of which each is played once."""
    known = _known_standings(each.model_dump_json(), seed, clients)
    for earlier in range(len(known) - 1, block):
        known.append(_talk(_draws(each, seed, clients, earlier), conversation, known[earlier]).after)
    return known[block]


@functools.lru_cache(maxsize=32)
def _known_standings(described: str, seed: int, clients: int) -> list[NDArray[np.void]]:
    """Return the standings that :func:`_standing` has worked out so far for these very arguments, by block."""
    del described, seed
    return [strangers(clients)]
