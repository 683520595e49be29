"""EC2's instance types: architecture by name, and what T types earn."""

import pytest

from infra_scripts.machines import architecture, burstable, credit_warning, is_burstable


@pytest.mark.parametrize(
    "kind",
    [
        *("c7g.xlarge", "m6gd.large", "t4g.small", "x2gd.medium", "im4gn.large", "is4gen.medium"),
        *(
            "a1.large",
            "r8g.metal-24xl",
            "c7gn.16xlarge",
            "hpc7g.4xlarge",
            "g5g.xlarge",
            "c8gb.large",
        ),
    ],
)
def test_graviton_types_are_arm(kind: str) -> None:
    assert architecture(kind) == "arm64"


@pytest.mark.parametrize(
    "kind",
    [
        *(
            "t2.xlarge",
            "t3a.large",
            "c7i.xlarge",
            "c7a.2xlarge",
            "m7i-flex.large",
            "c7i-flex.xlarge",
        ),
        *(
            "g4dn.xlarge",
            "g6e.xlarge",
            "gr6.4xlarge",
            "u-6tb1.metal",
            "u7i-12tb.224xlarge",
            "p5en.48xlarge",
        ),
        *("mac1.metal", "dl1.24xlarge", "trn1n.32xlarge"),
    ],
)
def test_others_are_amd(kind: str) -> None:
    assert architecture(kind) == "amd64"


def test_what_the_default_type_earns() -> None:
    earned = burstable("t2.xlarge")
    assert earned is not None
    assert (earned.vcpus, earned.credits_per_hour) == (4, 54.0)
    assert earned.sustained_vcpus == pytest.approx(0.9)
    assert earned.most_credits == 1296


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        *(("t2.nano", 0.05), ("t2.medium", 0.2), ("t2.large", 0.3), ("t2.2xlarge", 0.17)),
        *(("t3.micro", 0.1), ("t3a.large", 0.3), ("t3.xlarge", 0.4), ("t4g.2xlarge", 0.4)),
    ],
)
def test_the_share_of_each_core_that_lasts(kind: str, share: float) -> None:
    earned = burstable(kind)
    assert earned is not None
    assert earned.sustained_vcpus / earned.vcpus == pytest.approx(share)


def test_only_t_types_live_on_credits() -> None:
    assert is_burstable("t9x.large")
    assert burstable("t9x.large") is None
    assert not is_burstable("trn1.2xlarge")
    assert burstable("c7i.xlarge") is None


def test_the_warning_says_what_is_earned_and_what_then() -> None:
    standard = credit_warning("t2.xlarge", "standard")
    assert "t2.xlarge earns 0.9 of its 4 vCPUs" in standard
    assert "no faster" in standard
    assert "billed" in credit_warning("t3.xlarge", "unlimited")
    assert "a part of its vCPUs" in credit_warning("t9x.large", "standard")
    assert credit_warning("c7g.xlarge", "standard") == ""
    assert credit_warning("", "standard") == ""
    assert "\n" not in standard
