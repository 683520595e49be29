"""``./run check-template``: cfn-lint and checkov on templates of all kinds; status 0 only if both agree.

cfn-lint must find nothing, not even a hint. What checkov finds must be exactly what the resources say is
accepted, so a new finding fails, and so does a reason that nothing needs any more.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from infra_scripts.template.document import Document, text
from tests.support.templates import templates

TOOLS = Path(__file__).resolve().parents[1] / ".venv-check" / "bin"
Finding = tuple[str, str, str]  # template, resource, check


def main() -> int:
    made = templates()
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name, template in made.items():
            files[name] = Path(folder) / f"{name}.json"
            files[name].write_text(text(template))
        lint = [TOOLS / "cfn-lint", "--include-checks", "I", "--regions", "eu-west-1", "us-east-1"]
        linted = subprocess.run([*lint, "--", *files.values()], check=False).returncode
        reasons = {finding for name in made for finding in take_reasons(name, made[name])}
        for name, template in made.items():
            files[name].write_text(text(template))
        found = checkov(Path(folder))
    for finding in sorted(found - reasons):
        print("checkov found in", *finding)
    for finding in sorted(reasons - found):
        print("accepted, but checkov finds nothing in", *finding)
    clean = linted == 0 and found == reasons
    print(f"{len(made)} templates: {'clean' if clean else 'not clean'}, {len(reasons)} accepted")
    return 0 if clean else 1


def take_reasons(name: str, template: Document) -> set[Finding]:
    """What is accepted in a template, which afterwards does not say so any more."""
    taken = set()
    for logical, resource in template["Resources"].items():
        skipped = resource["Metadata"].pop("checkov", {"skip": []})["skip"]
        for each in skipped:
            assert each["comment"], f"{logical} accepts {each['id']} without a reason"
            taken.add((name, f"{resource['Type']}.{logical}", each["id"]))
    return taken


def checkov(folder: Path) -> set[Finding]:
    """What checkov finds in the templates of a folder."""
    command = [TOOLS / "checkov", "--framework", "cloudformation", "--skip-download", "--quiet"]
    done = subprocess.run(
        [*command, "--output", "json", "--directory", folder],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 100  # it has looked
    return {
        (Path(each["file_path"]).stem, each["resource"], each["check_id"])
        for each in report["results"]["failed_checks"]
    }


if __name__ == "__main__":
    sys.exit(main())
