"""What a benchmark file does not say about the system it measured, given by the user instead."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import get_args

from inferencesim.errors import InputError, did_you_mean
from inferencesim.measurements.measurement import MeasuredSetup
from inferencesim.measurements.names import hardware_id, model_id
from inferencesim.scenario.fleet import PrecisionName

_REQUIRED = ("hardware", "model", "engine", "weights", "tensor")
_FORMATS = ("weights", "activations", "kv", "expert_weights", "expert_activations")
_DEGREES = ("tensor", "pipeline", "expert", "attention_data")
#: Formats whose kernels keep sixteen-bit activations.
_WEIGHT_ONLY = ("int4", "int8")


@dataclass(frozen=True)
class Defaults:
    """Facts about a setup; what is empty or zero is not known.

    Attributes
    ----------
    hardware, model, engine, engine_version : str
    weights, activations, kv, expert_weights, expert_activations : str
        Number formats. Activations follow the weights, but stay bf16 for int4 and int8; the KV cache is bf16.
    tensor, pipeline, expert, attention_data, replicas : int
        One where not given, `tensor` excepted.
    concurrency : int
        Clients of a closed loop, for a file that does not state its load (the CSV of AIPerf).
    """

    hardware: str = ""
    model: str = ""
    engine: str = ""
    engine_version: str = ""
    weights: str = ""
    activations: str = ""
    kv: str = ""
    expert_weights: str = ""
    expert_activations: str = ""
    tensor: int = 0
    pipeline: int = 0
    expert: int = 0
    attention_data: int = 0
    replicas: int = 0
    concurrency: int = 0

    def overlaid(self, other: Defaults) -> Defaults:
        """Return these facts, with those of `other` where it has any."""
        return Defaults(**{**asdict(self), **{name: value for name, value in asdict(other).items() if value}})

    def for_model(self, name: object) -> Defaults:
        """Return these facts with the model a file names, unless that name is unknown and a model was given."""
        text = name if isinstance(name, str) else ""
        return self if self.model and model_id(text) is None else self.overlaid(Defaults(model=text))

    def setup(self, where: str) -> MeasuredSetup:
        """Return the setup.

        Parameters
        ----------
        where : str
            The file, or its line, that should have said what is missing.

        Raises
        ------
        InputError
            Once, naming all that is missing; or at a number format that does not exist.
        """
        missing = [name for name in _REQUIRED if not getattr(self, name)]
        if missing:
            what = f"neither the file nor an option says: {', '.join(missing)}"
            raise InputError(where, what, "Give what is missing as an option or as a column.")
        for name in _FORMATS:
            value = getattr(self, name)
            if value and value not in get_args(PrecisionName):
                remedy = did_you_mean(value, get_args(PrecisionName))
                raise InputError(where, f"unknown number format {value!r} in {name}", remedy)
        activations = "bf16" if self.weights in _WEIGHT_ONLY else self.weights
        precision = {"weights": self.weights, "activations": self.activations or activations, "kv": self.kv or "bf16"}
        if self.expert_weights:
            experts = "bf16" if self.expert_weights in _WEIGHT_ONLY else self.expert_weights
            precision["expert_weights"] = self.expert_weights
            precision["expert_activations"] = self.expert_activations or experts
        return MeasuredSetup(
            hardware=hardware_id(self.hardware) or self.hardware,
            model=model_id(self.model) or self.model,
            engine=self.engine,
            engine_version=self.engine_version,
            precision=precision,
            parallelism={name: getattr(self, name) or 1 for name in _DEGREES},
            replicas=self.replicas or 1,
        )


#: Names of all facts, as a command line or a CSV header spells them.
FACTS = tuple(fact.name for fact in fields(Defaults))
