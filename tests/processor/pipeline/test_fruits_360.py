"""A data set in the shape of Fruits-360: through S3's own events to rows with labels."""

import json
from pathlib import Path

from common.aws import forget
from ingest.events import parse
from processor.network.spec import NetworkSpec
from tests.support.aws import DeployedStack
from tests.support.drawn_photos import photo
from tests.support.world import World

FRUITS = [
    "Apple Braeburn 1",
    "Apple 6",
    "Cherry Wax Red 1",
    "Tomato not Ripened 1",
    "Huckleberry 1",
]
NAMES = ["0_100.jpg", "r_3_100.jpg", "r2_321_100.jpg"]


def test_the_label_is_the_fruit_and_not_the_split(
    stack: DeployedStack, spec: NetworkSpec, tmp_path: Path
) -> None:
    """Events name keys URL-encoded, with + for a space; the same name is in both splits."""
    forget()
    world = World(stack.bucket, spec, tmp_path)
    wanted = {
        f"photos/{split}/{fruit}/{name}": fruit
        for split in ("Training", "Test")
        for fruit in FRUITS
        for name in NAMES
    }
    for seed, key in enumerate(wanted):
        stack.put(key, photo(seed, size=(100, 100)))
    bodies = [json.dumps(body) for body in stack.drain()]
    assert any("Apple+Braeburn+1" in body or "Apple%20Braeburn%201" in body for body in bodies)
    world.handle(*(event for body in bodies for event in parse(body)))
    assert {key: row["label"] for key, row in world.features().items()} == wanted
    assert {(row["width"], row["height"]) for row in world.features().values()} == {(100, 100)}
    assert world.rejects() == {}
    world.assert_exactly_the_live_photos()
    forget()
