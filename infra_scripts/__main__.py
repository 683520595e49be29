"""``python -m infra_scripts``: the AWS stack from the command line."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from common.config import ConfigError, load
from infra_scripts import deployment, keys, policies
from infra_scripts.assembly import stack_of, template_of
from infra_scripts.clients import Clients
from infra_scripts.errors import StackError
from infra_scripts.parts import Action
from infra_scripts.stack import Place, Stack
from infra_scripts.template.document import text

SUMMARY: dict[Action, str] = {
    "create": "to create",
    "update": "to update",
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
                _plan(clients, stack)
            case "deploy":
                deployment.deploy(clients, stack, _find_place(clients))
            case "destroy":
                if not options.yes:
                    _confirm(clients, stack, delete_data=options.delete_data)
                deployment.destroy(clients, stack, delete_data=options.delete_data)
            case "policy":
                keyed = keys.with_keys(clients, stack)
                print(json.dumps(policies.service_role(keyed, clients.place()), indent=2))
    except (ConfigError, StackError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: run the same command again to continue from here", file=sys.stderr)
        return 130
    return 0


def _plan(clients: Clients, stack: Stack) -> None:
    changes = deployment.plan(clients, stack, _find_place(clients))
    for change in changes:
        print(change.describe())
    counts = Counter(change.action for change in changes)
    print(", ".join(f"{counts[action]} {label}" for action, label in SUMMARY.items()))


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
        for name, count in deployment.messages(clients, stack).items()
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
        "and a log group. Credentials, region and endpoint come from the standard AWS chain.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, metavar="FILE", help="default: config.toml")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, purpose in {
        "plan": "show what deploy would change, and change nothing",
        "deploy": "create what is missing and correct what differs; safe to repeat",
        "policy": "print the IAM policy that the service's role needs",
    }.items():
        commands.add_parser(name, parents=[common], help=purpose, description=purpose)
    purpose = "print the CloudFormation template as JSON; calls nothing of AWS"
    template = commands.add_parser("template", parents=[common], help=purpose, description=purpose)
    template.add_argument(
        "--existing-bucket",
        action="store_true",
        help="leave the bucket out, because it is there already and stays as it is",
    )
    purpose = (
        "delete notifications, queues and log group; keep the bucket and its contents; ask first if "
        "that loses something, as messages in a queue"
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
