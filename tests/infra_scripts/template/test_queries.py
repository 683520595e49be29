"""The saved queries: they parse, and find the lines that their questions are about."""

import pytest

from infra_scripts.template.queries import KEY, QUERIES, resources
from tests.support.aws import unique_stack
from tests.support.insights import parse

BATCH = {"level": "INFO", "message": "micro-batch durable", "batch": 1, "photos": 2}
REJECT = {"level": "WARNING", "message": "photo rejected", "key": KEY, "reason": "corrupt"}
ENDED = {"level": "ERROR", "message": "ended: the disk is full"}
STARTED = {"level": "INFO", "message": "service started"}
REFIT = {"level": "INFO", "message": "fitted a PCA", "seconds": 2.5}
QUERY_ENDED = {"level": "INFO", "message": "the query ended: killed"}
OTHER = {"level": "INFO", "message": "something else"}
LINES = (BATCH, REJECT, ENDED, STARTED, REFIT, QUERY_ENDED, OTHER)
FOUND = {
    "photo": (REJECT,),
    "failures": (REJECT, ENDED),
    "keeping-up": (BATCH,),
    "restarts": (ENDED, STARTED, QUERY_ENDED),
    "slowest": (BATCH, REFIT),
}


@pytest.mark.parametrize("query", QUERIES, ids=lambda each: each.name)
def test_a_query_finds_the_lines_that_it_is_about(query) -> None:
    parsed = parse(query.text)
    assert tuple(line for line in LINES if parsed.matches(line)) == FOUND[query.name]


@pytest.mark.parametrize(
    "text",
    [
        "fields",
        "select a",
        "filter a",
        "filter a = b",
        'filter a in "b"',
        "sort a up",
        "limit x",
        "stats median(a)",
        "fields a | | limit 1",
        "fields a limit 1",
        "fields a ; limit 1",
    ],
)
def test_the_grammar_is_strict(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        parse(text)


def test_they_are_resources_of_the_stack() -> None:
    stack = unique_stack()
    found = resources(stack)
    assert list(found) == [
        *("QueryPhoto", "QueryFailures", "QueryKeepingUp", "QueryRestarts", "QuerySlowest")
    ]
    for query, resource in zip(QUERIES, found.values(), strict=True):
        assert resource["Type"] == "AWS::Logs::QueryDefinition"
        properties = resource["Properties"]
        assert properties["Name"] == f"fruits/{stack.queue}/{query.name}"
        assert len(properties["Name"]) <= 255
        assert properties["LogGroupNames"] == [{"Ref": "LogGroup"}]
        assert parse(properties["QueryString"]) == parse(query.text)
        assert len(properties["QueryString"]) <= 10_000
