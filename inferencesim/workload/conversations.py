"""Conversations of closed-loop clients: turn by turn, each prompt holds what was said before."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inferencesim.errors import InputError
from inferencesim.workload.content import shared_tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.scenario.workload import Conversation, WorkloadClass

#: Classes whose conversations have ids of their own, and conversations of one client.
MOST_CLASSES = 2**7
MOST_CONVERSATIONS = 2**16

#: Where a client stands between two turns.
STANDING = np.dtype(
    [
        ("number", np.int64),  # of the conversation it is in, from 0
        ("left", np.int64),  # turns until it ends
        ("context", np.int64),  # tokens of its prompts and answers so far, the shared prefix included
        ("variant", np.int64),  # of the shared prefix
    ]
)


class Talk(NamedTuple):
    """What clients say in successive turns; columns of shape (clients, turns).

    Parameters
    ----------
    prompt_tokens : numpy.ndarray
        int64, whole prompts.
    variant : numpy.ndarray
        int64, of the shared prefix; −1 for none.
    number : numpy.ndarray
        int64, of the conversation among those of its client.
    after : numpy.ndarray
        STANDING[clients], after the last of these turns.
    """

    prompt_tokens: NDArray[np.int64]
    variant: NDArray[np.int64]
    number: NDArray[np.int64]
    after: NDArray[np.void]


def strangers(clients: int) -> NDArray[np.void]:
    """Return where clients stand who have said nothing yet."""
    standing = np.zeros(clients, STANDING)
    standing["number"] = -1
    return standing


def talk(
    each: WorkloadClass,
    conversation: Conversation,
    before: NDArray[np.void],
    own_tokens: NDArray[np.int64],
    output_tokens: NDArray[np.int64],
    turns: NDArray[np.int64],
    variants: NDArray[np.int64],
) -> Talk:
    """Play successive turns of some clients.

    Parameters
    ----------
    each, conversation : WorkloadClass, Conversation
        The class, and what it says of its conversations.
    before : numpy.ndarray
        STANDING[clients], before the first of these turns.
    own_tokens, output_tokens : numpy.ndarray
        int64, shape (clients, turns): what each turn adds, by the client and by the model.
    turns, variants : numpy.ndarray
        int64, likewise: length and prefix of the conversation that begins with a turn, if one does.

    Returns
    -------
    Talk
    """
    most = math.inf if conversation.max_context is None else conversation.max_context
    standing = before.copy()
    prompt, variant, number = (np.empty_like(own_tokens) for _ in range(3))
    for turn in range(own_tokens.shape[1]):
        own, output = own_tokens[:, turn], output_tokens[:, turn]
        begins = (standing["left"] == 0) | (standing["context"] + own + output > most)
        standing["number"] += begins
        standing["left"] = np.where(begins, turns[:, turn], standing["left"]) - 1
        standing["variant"] = variant[:, turn] = np.where(begins, variants[:, turn], standing["variant"])
        prompt[:, turn] = np.where(begins, shared_tokens(each), standing["context"]) + own
        number[:, turn] = standing["number"]
        standing["context"] = prompt[:, turn] + output
    return Talk(prompt, variant, number, standing)


def history_ids(number: NDArray[np.int64], index: int, where: str) -> NDArray[np.int64]:
    """Return ids of conversations, distinct between classes, clients and conversations of a client.

    Parameters
    ----------
    number : numpy.ndarray
        int64, shape (clients, turns): the conversation among those of its client.
    index : int
        Position of the class in the scenario.
    where : str
        Place of the class.

    Raises
    ------
    InputError
        If there are more than ids have room for.
    """
    if index >= MOST_CLASSES:
        raise InputError(f"{where}.conversation", f"only the first {MOST_CLASSES} classes hold conversations")
    if number.max(initial=0) >= MOST_CONVERSATIONS:
        what = f"a client begins more than {MOST_CONVERSATIONS} conversations"
        raise InputError(
            f"{where}.conversation", what, "Give it longer ones, or share its requests among more clients."
        )
    return (index << 32) + within_class(number)


def within_class(number: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return numbers of conversations that are distinct within their class, below 2^32."""
    client = np.arange(number.shape[0])[:, None]
    return client * MOST_CONVERSATIONS + number
