"""Advice: what to do about photos that have no row, by the reason."""

_ADVICE = {
    # Rejected, because of what is in their bytes.
    "empty": "The file has no bytes: upload it again.",
    "unsupported": "Not a photo, or not in a format that is read: save it as JPEG and upload it again.",
    "corrupt": "The bytes are damaged: replace the file with a good copy.",
    "truncated": "The upload broke off: upload the file again.",
    "too-large": "Scale it down; or raise images.max_bytes or images.max_pixels, restart the service, "
    "then python -m processor reconcile --retry too-large",
    # Waiting, for something that the photo is not at fault for.
    "forbidden": "Allow the service's role to read it: the bucket's policy, the object's owner.",
    "encrypted": "Allow the service's role to decrypt with the object's KMS key.",
    "archived": "Restore it from Glacier.",
    "refused": "The detail says what S3 answered. It is tried again by itself, within a day.",
    "unavailable": "S3 or the machine could not deliver it: it is tried again by itself.",
    "unwritable": "The store could not be written: see the log. It is tried again by itself.",
    "vanished": "Announced, but not in the bucket: if it is not uploaded again, nothing is to be done.",
    # Either, as time goes by.
    "crash": "A decoder died over it: replace the file, and report it with the photo.",
}
_OTHER = "python -m processor why KEY says all that is known of one photo."


def advice(reason: str) -> str:
    """One or two sentences, for any reason."""
    return _ADVICE.get(reason, _OTHER)
