"""EC2's instance types, as far as the stack has to know them: architecture, and what a T type earns."""

import re
from dataclasses import dataclass
from typing import Literal

Architecture = Literal["amd64", "arm64"]

# vCPUs, and CPU credits earned in an hour; a credit is one vCPU for a minute. From "Key concepts for
# burstable performance instances" in the EC2 User Guide, as of November 2026. T3a earns what T3 does.
_T2 = {
    "nano": (1, 3.0),
    "micro": (1, 6.0),
    "small": (1, 12.0),
    "medium": (2, 24.0),
    "large": (2, 36.0),
    "xlarge": (4, 54.0),
    "2xlarge": (8, 81.6),
}
_T3 = {
    "nano": (2, 6.0),
    "micro": (2, 12.0),
    "small": (2, 24.0),
    "medium": (2, 24.0),
    "large": (2, 36.0),
    "xlarge": (4, 96.0),
    "2xlarge": (8, 192.0),
}
_EARNED = {"t2": _T2, "t3": _T3, "t3a": _T3, "t4g": _T3}


@dataclass(frozen=True, slots=True)
class Burstable:
    """What a T type has, and what of it lasts."""

    vcpus: int
    credits_per_hour: float

    @property
    def sustained_vcpus(self) -> float:
        """The vCPUs that it earns, and runs on once its credits are spent (if not ``unlimited``)."""
        return self.credits_per_hour / 60

    @property
    def most_credits(self) -> float:
        """The most it can save: what it earns in a day."""
        return self.credits_per_hour * 24


def architecture(instance_type: str) -> Architecture:
    """What its processors execute, by its name: Graviton types have a g after their generation.

    ``c7g.xlarge``, ``m6gd.large`` and ``im4gn.large`` do, ``g5.xlarge`` has it before; ``a1``, the first
    of them, has none.
    """
    named = re.match(r"[a-z]+(?P<generation>\d+)(?P<attributes>[a-z]*)[.-]", instance_type)
    graviton = named is not None and "g" in named["attributes"]
    return "arm64" if graviton or instance_type.startswith("a1.") else "amd64"


def is_burstable(instance_type: str) -> bool:
    """Whether it lives on CPU credits: only then does EC2 accept ``cpu_credits``."""
    return re.match(r"t\d+[a-z]*\.", instance_type) is not None


def burstable(instance_type: str) -> Burstable | None:
    """What a T type earns; None for other types, and for T types that are newer than this table."""
    family, _, size = instance_type.partition(".")
    earned = _EARNED.get(family, {}).get(size)
    return None if earned is None else Burstable(*earned)


def credit_warning(instance_type: str, cpu_credits: str) -> str:
    """What whoever deploys a T type must know, in one line; empty for other types."""
    if not is_burstable(instance_type):
        return ""
    known = burstable(instance_type)
    earns = (
        f"{instance_type} earns {known.sustained_vcpus:.2g} of its {known.vcpus} vCPUs"
        if known
        else f"{instance_type} earns only a part of its vCPUs"
    )
    then = (
        "what it takes beyond that is billed by the vCPU hour"
        if cpu_credits == "unlimited"
        else "once its credits are spent it runs no faster than that"
    )
    return f"{earns}: {then}; for sustained load set instance.type to a c7a, c7i or c7g"
