"""CloudFormation: what exists of a stack, what a template would change, and how a change goes on."""
