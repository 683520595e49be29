"""Ingestion: S3's events, from an SQS queue, as the rows of a Spark stream. Usable alone.

Read events (what a message says), records (an event as a row), queue (SQS), dead_letters (where
malformed messages go, and what is there), holding (renew, delete, release), inbox (receive ahead of the
consumer), source (the stream). Nothing of ours is needed beside it but the AWS and the log of `common`,
and of others boto3 and PySpark.

Delivery guarantee: at least once, in any order. A message is deleted only after the micro-batch that
contained its events has ended.

Errors, and who has to do something about them::

    ValueError
    ├── MalformedMessage     poison: no retry mends it. It never reaches the consumer of an inbox, which
    │   │                    moves the message to the dead-letter queue, or leaves that to SQS
    │   └── ForeignMessage   likewise: all its objects are outside the bucket and prefix given
    └── (of the source)      an option is wrong; the message names it, its value and what would do
    RuntimeError
    ├── QueueError           the queue is missing, access denied, or the credentials refused; or messages
    │                        became dead letters while it was drained: restarting alone does not help;
    │                        the message names the fix
    └── EndpointError        AWS_ENDPOINT_URL is not a URL (common.aws_errors)
    botocore's ClientError and BotoCoreError
    ├── NoRegionError        no region can be found; raised when the client is made
    └── all others           retryable: throttling, outages. An inbox waits them out with a log line
                             and raises none; the methods of Queue raise them

Outcome unknown: where nobody answered, a deletion, a renewal or a release may have taken effect. An
inbox counts it as failed. If it was, the message is redelivered, and the consumer recognises its
events as already processed.

No error has a base class of the package's own, because nobody would handle them alike.
"""
