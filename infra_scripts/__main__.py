"""``python -m infra_scripts``: the AWS stack from the command line."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from common.config import Config, ConfigError, load
from infra_scripts import deployer, deployment, destruction, keys, policies
from infra_scripts.assembly import archive_of, stack_of, template_of
from infra_scripts.clients import Clients
from infra_scripts.errors import StackError
from infra_scripts.parts import Action
from infra_scripts.stack import Place, Stack
from infra_scripts.template.document import text

SUMMARY: dict[Action, str] = {
    "create": "to create",
    "update": "to update",
    "replace": "to replace",
    "delete": "to delete",
    "unchanged": "unchanged",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 only when all of it was done."""
    options = _parser().parse_args(arguments)
    try:
        config = load(options.config)
        if options.command == "template":
            print(text(template_of(config, new_bucket=not options.existing_bucket)))
            return 0
        stack = stack_of(config)
        clients = Clients.connect()
        match options.command:
            case "plan":
                _plan(clients, config)
            case "deploy":
                _deploy(clients, config)
            case "destroy":
                if not options.yes:
                    _confirm(clients, stack, delete_data=options.delete_data)
                destruction.destroy(clients, stack, delete_data=options.delete_data)
            case "policy":
                print(json.dumps(_policy(clients, stack, deployers=options.deployer), indent=2))
    except (ConfigError, StackError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: run the same command again to continue from here", file=sys.stderr)
        return 130
    return 0


def _policy(clients: Clients, stack: Stack, *, deployers: bool) -> policies.Document:
    if deployers:
        return deployer.policy(stack, clients.place())
    return policies.service_role(keys.with_keys(clients, stack), clients.place())


def _plan(clients: Clients, config: Config) -> None:
    stack, place = stack_of(config), _find_place(clients)
    changes = deployment.plan(clients, stack, place, archive=archive_of(config))
    for change in changes:
        print(change.describe())
    counts = Counter(change.action for change in changes)
    rare = ("replace", "delete")
    print(
        *(
            f"{counts[act]} {label}"
            for act, label in SUMMARY.items()
            if act not in rare or counts[act]
        ),
        sep=", ",
    )


def _deploy(clients: Clients, config: Config) -> None:
    stack, place = stack_of(config), _find_place(clients)
    deployment.deploy(clients, stack, place, archive=archive_of(config))
    steps = ["put photos: python -m ingest upload FOLDER"]
    if stack.alarms.email:
        steps.insert(0, f"confirm the message that AWS sends to {stack.alarms.email}, once")
    if stack.instance.type:
        steps.append(f"watch: aws logs tail --follow {stack.log_group}")
    else:
        steps.append("run the service: python -m processor run")
    steps.append("look: python -m processor status")
    print("next", *steps, sep="\n  ")


def _find_place(clients: Clients) -> Place:
    """Ask AWS for account and region, and print them before anything is changed there."""
    place = clients.place()
    print(f"account {place.account}, region {place.region}")
    if not place.encrypted:
        print("the endpoint is plain HTTP: the policies do not insist on TLS")
    return place


def _confirm(clients: Clients, stack: Stack, *, delete_data: bool) -> None:
    """Raise :class:`StackError` unless nothing would be lost, or the bucket's name is typed in."""
    lost = [
        f"queue {name!r} with {count} messages: events of photos that are not processed yet"
        for name, count in destruction.messages(clients, stack).items()
    ]
    if delete_data:
        lost.append(f"bucket {stack.bucket!r} with every photo and every result")
    if not lost:
        return
    print("This permanently deletes", *lost, sep="\n  ")
    try:
        typed = input("Type the bucket's name to continue: ")
    except EOFError:
        typed = ""
    if typed.strip() != stack.bucket:
        raise StackError(
            "not confirmed, so nothing was deleted: type the bucket's name, or pass --yes"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra_scripts",
        description="The AWS stack: a bucket with notifications, a queue with a dead-letter queue, "
        "a log group, an instance that runs the service, and what watches it. Credentials, region and "
        "endpoint come from the standard AWS chain.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, metavar="FILE", help="default: config.toml")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, purpose in {
        "plan": "show what deploy would change, and change nothing",
        "deploy": "create what is missing and correct what differs; safe to repeat; what fails is "
        "rolled back",
    }.items():
        commands.add_parser(name, parents=[common], help=purpose, description=purpose)
    purpose = "print the CloudFormation template as JSON; calls nothing of AWS"
    template = commands.add_parser("template", parents=[common], help=purpose, description=purpose)
    template.add_argument(
        "--existing-bucket",
        action="store_true",
        help="leave the bucket out, because it is there already and stays as it is",
    )
    purpose = "print the IAM policy that the service's role needs"
    policy = commands.add_parser("policy", parents=[common], help=purpose, description=purpose)
    policy.add_argument(
        "--deployer",
        action="store_true",
        help="print that of whoever runs plan, deploy and destroy instead",
    )
    purpose = (
        "delete notifications and stack: instance, alarms, queues, log group; keep the bucket and its "
        "contents; ask first if that loses something, as messages in a queue"
    )
    destroy = commands.add_parser("destroy", parents=[common], help=purpose, description=purpose)
    destroy.add_argument(
        "--delete-data", action="store_true", help="also delete the bucket and everything in it"
    )
    destroy.add_argument(
        "--yes", action="store_true", help="do not ask for confirmation, whatever is lost"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
