"""Object events: what whole messages say, and that everything else raises MalformedMessage.

Each file of tests/events is one SQS body; expected.json has the events in it, or the error.
"""

import json
import pickle
import time
from dataclasses import FrozenInstanceError, asdict, replace
from datetime import UTC, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.events import UNKNOWN_TIME, MalformedMessage, message, newest, parse
from tests.support.object_events import CREATED, NOON, OBJECT_EVENTS, REMOVED, event

FOLDER = Path(__file__).parents[1] / "events"
BODIES = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
EXPECTED = json.loads(BODIES.pop("expected"))
PUT, BRIDGE = BODIES["s3_put"], BODIES["eventbridge_created"]
OBJECT = ("Records", 0, "s3", "object")


def changed(body, path, value):
    """The body with another value at a path; Ellipsis removes it."""
    document = json.loads(body)
    part = document
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    if value is ...:
        del part[path[-1]]
    return json.dumps(document)


def places(part, path=()):
    """The path of every member and item of a JSON document."""
    for step, value in part.items() if isinstance(part, dict) else enumerate(part):
        yield (*path, step)
        if isinstance(value, dict | list):
            yield from places(value, (*path, step))


def test_every_message_is_expected():
    assert BODIES.keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", [n for n in EXPECTED if not n.startswith("malformed_")])
def test_message(name):
    got = parse(BODIES[name])
    rows = [{**asdict(one), "event_time": one.event_time.isoformat()} for one in got]
    assert rows == EXPECTED[name]
    assert all(one.event_time.tzinfo is UTC for one in got)
    assert parse(message(got)) == got


@pytest.mark.parametrize("name", [n for n in EXPECTED if n.startswith("malformed_")])
def test_malformed_message(name):
    with pytest.raises(MalformedMessage) as caught:
        parse(BODIES[name])
    assert EXPECTED[name] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 600


def test_no_records_are_no_events():
    assert parse('{"Records": []}') == parse(message([])) == ()


# fmt: off
NO_MESSAGES = [
    "", "  ", "null", "[]", "3", '"Records"', "{}", "\ud800", "\ufeff" + PUT, PUT[:-3], None, 7,
    "[" * 100_000, '{"a":' * 100_000, '{"Records": [], "a": %s}' % ("9" * 5_000),
    '{"Records": null}', '{"Records": {}}', '{"Records": [null]}', '{"Records": [[]]}',
    '{"Records": [], "Records": []}', '{"Records": [], "a": NaN}', '{"Records": [], "a": -Infinity}',
    '{"Type": "Notification", "Message": "Hello"}', '{"Type": "Notification", "Message": {}}',
    '{"detail-type": "Object Created"}', '{"detail-type": [], "source": "aws.s3"}',
    '{"Event": "s3:OtherEvent"}',
]
BAD_MEMBERS = {
    ("eventName",): [..., None, "", 3, [CREATED], "ObjectCreated:\ud800"],
    ("s3",): [..., None, [], "s3"],
    ("s3", "bucket"): [..., "b"],
    ("s3", "bucket", "name"): [..., None, "", 7, "\udfff"],
    ("s3", "object"): [..., None, []],
    ("s3", "object", "key"): [..., None, "", 7, {}, "\ud800", "%FF", "%ED%A0%80", "%F0%9F"],
    ("s3", "object", "size"): [-1, 2**63, 10**400, 1.0, True, "1", []],
    ("s3", "object", "eTag"): [7, {}, "\ud800"],
    ("s3", "object", "versionId"): [7, False],
    ("s3", "object", "sequencer"): [0, {}],
}
# fmt: on


@pytest.mark.parametrize("body", NO_MESSAGES, ids=range(len(NO_MESSAGES)))
def test_no_message_at_all(body):
    with pytest.raises(MalformedMessage):
        parse(body)


@pytest.mark.parametrize("path", BAD_MEMBERS, ids=".".join)
def test_one_bad_record_spoils_its_message(path):
    (good,) = json.loads(PUT)["Records"]
    for value in BAD_MEMBERS[path]:
        (bad,) = json.loads(changed(PUT, ("Records", 0, *path), value))["Records"]
        with pytest.raises(MalformedMessage, match=r"Records\[1\]"):
            parse(json.dumps({"Records": [good, bad]}))


SURROGATES_TOO = st.text(st.characters(exclude_categories=()))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | SURROGATES_TOO,
    lambda part: st.lists(part, max_size=4) | st.dictionaries(SURROGATES_TOO, part, max_size=4),
    max_leaves=8,
)


def assert_events_or_malformed(body):
    try:
        got = parse(body)
    except MalformedMessage as error:
        line = str(error)
        assert line.isprintable()
        line.encode()
    else:
        assert parse(message(got)) == got


@settings(deadline=None)
@given(SURROGATES_TOO | JSON.map(json.dumps))
def test_anything_is_events_or_malformed(body):
    assert_events_or_malformed(body)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["s3_put", "s3_other_kinds", "eventbridge_created", "sns_put"]), st.data())
def test_messages_with_anything_in_them_are_events_or_malformed(name, data):
    path = data.draw(st.sampled_from(list(places(json.loads(BODIES[name])))))
    assert_events_or_malformed(changed(BODIES[name], path, data.draw(JSON)))


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        ("a+b%20c%2Bd", "a b c+d"),
        ("photos%2Fa.jpg", "photos/a.jpg"),
        ("%252B", "%2B"),
        ("100%.jpg", "100%.jpg"),  # no encoder writes a lone percent sign
        ("cafe%CC%81", "cafe\u0301"),
        ("caf%c3%a9", "caf\u00e9"),
        ("caf\u00e9", "caf\u00e9"),
        ("a%0Ab%00", "a\nb\0"),
        ("%F0%9F%8D%8E", "\U0001f34e"),
    ],
)
def test_key_is_decoded_once_and_never_normalised(encoded, key):
    assert parse(changed(PUT, (*OBJECT, "key"), encoded))[0].key == key
    assert parse(changed(BRIDGE, ("detail", "object", "key"), encoded))[0].key == encoded


@pytest.mark.parametrize(
    ("member", "field", "values"),
    [
        ("eTag", "etag", {"": None, '""': None, '"abc-2"': "abc-2", None: None}),
        ("versionId", "version_id", {"": None, "null": None, "NULL": "NULL", None: None}),
        ("sequencer", "sequencer", {"": None, "zz": "zz", None: None}),
        ("size", "size", {None: None, 0: 0, 2**63 - 1: 2**63 - 1}),
    ],
)
def test_spellings_of_a_member(member, field, values):
    for spelled, value in values.items():
        (got,) = parse(changed(PUT, (*OBJECT, member), spelled))
        assert getattr(got, field) == value


@pytest.fixture
def far_from_greenwich(monkeypatch):
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("2026-03-14T12:00:00Z", 0),
        ("2026-03-14T12:00:00", 0),
        ("2026-03-14T13:00:00.5+01:00", 500_000),
        ("2026-03-14T12:00:00.123456789Z", 123_456),
    ],
)
@pytest.mark.usefixtures("far_from_greenwich")
def test_event_time_is_utc(text, microseconds):
    (got,) = parse(changed(PUT, ("Records", 0, "eventTime"), text))
    assert got.event_time == NOON + timedelta(microseconds=microseconds)
    assert got.event_time.tzinfo is UTC


# Missing, of another type, unreadable; Go's zero time; no time in zones west or east of UTC.
NO_TIMES = [
    *(..., None, "", 0, 1.5, [], "today", "0.000000", "2026-03-14T25:00Z"),
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999Z"),
]


@pytest.mark.parametrize("text", NO_TIMES)
@pytest.mark.parametrize("body", [PUT, BRIDGE], ids=["s3", "eventbridge"])
def test_a_time_alone_spoils_no_event(body, text):
    where = ("Records", 0, "eventTime") if body == PUT else ("time",)
    (intact,), (got,) = parse(body), parse(changed(body, where, text))
    assert got == replace(intact, event_time=UNKNOWN_TIME)
    assert newest([intact, got, intact]) == newest([intact])


@pytest.mark.parametrize(
    ("kind", "reason", "name"),
    [
        ("Object Created", "PutObject", "ObjectCreated:Put"),
        ("Object Created", "POST Object", "ObjectCreated:Post"),
        ("Object Created", "CopyObject", "ObjectCreated:Copy"),
        ("Object Created", "CompleteMultipartUpload", "ObjectCreated:CompleteMultipartUpload"),
        ("Object Created", "a future way", "ObjectCreated"),
        ("Object Created", None, "ObjectCreated"),
        ("Object Deleted", None, "ObjectRemoved:Delete"),
        ("Object Deleted", "Lifecycle Expiration", "LifecycleExpiration:Delete"),
        ("Object Restore Completed", None, "ObjectRestore:Completed"),
    ],
)
def test_eventbridge_in_the_words_of_s3(kind, reason, name):
    body = changed(changed(BRIDGE, ("detail-type",), kind), ("detail", "reason"), reason)
    (got,) = parse(body)
    assert got.event_name == name
    assert got.removed == (kind == "Object Deleted")
    assert parse(message([got])) == (got,)


def test_event_names_of_ceph():
    for name, removed in [
        ("ObjectSynced:Create", False),
        ("ObjectSynced:Delete", True),
        ("ObjectSynced:DeletionMarkerCreated", True),
        ("ObjectLifecycle:Expiration:NonCurrent", True),
    ]:
        (got,) = parse(changed(PUT, ("Records", 0, "eventName"), f"s3:{name}"))
        assert (got.event_name, got.removed) == (name, removed)
    assert not parse(changed(PUT, ("Records", 0, "eventName"), "ObjectLifecycle:Transition"))


def test_event_is_a_value():
    (got,) = parse(PUT)
    assert pickle.loads(pickle.dumps(got)) == got
    assert len({got, *parse(PUT)}) == 1
    with pytest.raises(FrozenInstanceError):
        got.key = "other"


@settings(deadline=None, max_examples=50)
@given(st.lists(OBJECT_EVENTS, max_size=3))
@example([event("\0" * 1024), event("%2B+ %"), event("e\u0301/\u00e9"), event("\U0010ffff" * 256)])
def test_message_reads_back_equal(events):
    assert parse(message(events)) == tuple(events)


def test_message_looks_like_s3s():
    (record,) = json.loads(message([event("a b/\u00fc+.jpg", size=3, etag="e")]))["Records"]
    assert (record["eventVersion"], record["eventSource"]) == ("2.1", "aws:s3")
    assert record["eventTime"] == "2026-03-14T12:00:00.000000Z"
    assert record["s3"]["bucket"] == {"name": "b"}
    assert record["s3"]["object"] == {"key": "a+b/%C3%BC%2B.jpg", "size": 3, "eTag": "e"}


def test_message_stays_small():
    rest = {"version_id": "v" * 1024, "etag": "e" * 38, "size": 2**63 - 1}
    assert len(message([event("\0" * 1024, bucket="b" * 63, sequencer="F" * 32, **rest)])) < 5_000


def test_message_refuses_what_would_not_read_back():
    for fields in [
        {"key": ""},
        {"key": "\ud800"},
        {"bucket": ""},
        {"etag": '"e"'},
        {"version_id": "null"},
        {"sequencer": ""},
        {"size": -1},
        {"event_name": "s3:ObjectCreated:Put"},
        {"event_name": "ObjectTagging:Put"},
        {"event_time": NOON.replace(tzinfo=None)},
        {"event_time": NOON.replace(year=1)},
    ]:
        with pytest.raises(ValueError):  # noqa: PT011
            message([event(), replace(event(), **fields)])


def test_message_takes_any_zone():
    there = event(event_time=NOON.astimezone(timezone(timedelta(hours=-7))))
    assert parse(message([there])) == (there,)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("0055AED6DCD90281E5", "0055AED6DCD90281E6"),
        ("0055AED6DCD90281E5", "0055aed6dcd90281e6"),
        ("55AED6DCD90281E5", "56"),  # padded on the right, not on the left
        ("0", "01"),
        ("1", "101"),
    ],
)
def test_sequencer_beats_time_and_place(older, newer):
    first = event(sequencer=older, event_time=NOON + timedelta(hours=1))
    second = event(sequencer=newer, event_name=REMOVED)
    assert newest([first, second]) == newest(iter([second, first])) == {("b", "k"): second}


@pytest.mark.parametrize(
    "sequencers",
    [("1A000", "1a"), ("FFz", "FAz"), (None, None), ("FF", None), (None, "FF"), ("", "")],
)
def test_time_decides_where_sequencers_do_not(sequencers):
    first, second = sequencers
    before = event(sequencer=first)
    after = event(sequencer=second, event_time=NOON + timedelta(milliseconds=1), event_name=REMOVED)
    assert newest([before, after]) == newest([after, before]) == {("b", "k"): after}


def test_creation_beats_removal_at_the_same_time_and_of_equals_the_last_wins():
    made, again, gone = event(), event(etag="2"), event(event_name=REMOVED)
    assert newest([made, gone])["b", "k"] == newest([gone, made])["b", "k"] == made
    assert newest([made, gone, again])["b", "k"] == again
    assert newest([again, made, gone])["b", "k"] == made
    assert newest([numbered := event(sequencer="1"), made])["b", "k"] == numbered


def test_each_key_of_each_bucket_has_its_newest():
    assert newest([]) == {}
    events = [event(), event("K"), event(bucket="c"), event("e\u0301"), event("\u00e9")]
    assert set(newest(events).values()) == set(events)


def order(one):
    """A reference for sequencers up to 32 digits, padded as S3's documentation says."""
    return int(one.sequencer.ljust(32, "0"), 16)


NEAR = st.integers(0, 2).map(lambda hours: NOON + timedelta(hours=hours))
HEX = st.text("0019aAfF", min_size=1, max_size=5)
SEQUENCED, MIXED = (
    st.builds(
        event,
        key=st.sampled_from("ab"),
        event_name=st.sampled_from([CREATED, REMOVED]),
        event_time=NEAR,
        sequencer=sequencer,
    )
    for sequencer in (HEX, HEX | st.none())
)


@settings(deadline=None)
@given(st.lists(SEQUENCED, unique_by=lambda one: (one.key, order(one))), st.data())
def test_newest_has_the_greatest_sequencer_in_any_order(events, data):
    got = newest(data.draw(st.permutations(events + events[:3])))
    assert got == {("b", one.key): one for one in sorted(events, key=order)}


def tie(one):
    return one.key, one.sequencer and order(one), one.event_time, one.removed


@settings(deadline=None)
@given(st.lists(MIXED, unique_by=tie), st.data())
def test_newest_depends_on_order_only_for_full_ties(events, data):
    assert newest(data.draw(st.permutations(events))) == newest(events)
