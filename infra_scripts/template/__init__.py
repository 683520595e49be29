"""The CloudFormation template, made of values alone: nothing here calls AWS or reads a file."""
