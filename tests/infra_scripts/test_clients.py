"""The clients: where they lead, and the errors that name what is missing."""

import pytest

from infra_scripts.clients import Clients
from infra_scripts.embedded import EmbeddedAws
from infra_scripts.errors import StackError
from infra_scripts.stack import Place


def test_the_place_is_that_of_the_caller(clients: Clients) -> None:
    assert clients.place() == Place("aws", "eu-west-1", "123456789012", encrypted=False)


def test_all_clients_are_in_the_region_of_the_environment(
    aws: EmbeddedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    connected = Clients.connect()
    regions = {
        client.meta.region_name
        for client in (
            *(connected.s3, connected.sqs, connected.logs, connected.sts),
            connected.cloudformation,
        )
    }
    connected.close()
    assert regions == {"eu-north-1"}


def test_an_https_endpoint_is_encrypted(aws: EmbeddedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "https://127.0.0.1:9")
    connected = Clients.connect()
    assert connected.place() == Place("aws", "eu-west-1", "123456789012", encrypted=True)
    connected.close()


def test_an_endpoint_that_is_not_a_url_is_named(
    aws: EmbeddedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nowhere")
    with pytest.raises(StackError, match="nowhere: correct AWS_ENDPOINT_URL"):
        Clients.connect()
