"""Files that are no photo we read: what each is, told by its first bytes, and what to do about it."""

import codecs
import re

from processor.errors import RejectedImage

FORMATS = "JPEG, PNG, WebP, GIF, BMP, HEIC or AVIF"

_HEAD = 1 << 16  # bytes that are looked at
_QUOTED = 16
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")

# Reason, what to do, and patterns of first bytes with what they are; the first that matches counts.
_GROUPS: tuple[tuple[str, str, dict[bytes, str]], ...] = (
    (
        "corrupt",
        "its bytes were taken for text; upload it again as binary data",
        {
            rb"(\xef\xbf\xbd){3}": "a JPEG with bytes replaced by U+FFFD",
            rb"\xc3\xbf\xc3\x98\xc3\xbf": "a JPEG converted from Latin-1 to UTF-8",
            rb"(\xef\xbf\xbd|\xc2\x89|\xe2\x80\xb0)PNG": "a PNG converted to UTF-8",
            rb"\x89PNG(?!\r\n\x1a\n)[\r\n]": "a PNG with converted line ends, as in FTP's text mode",
            rb"\x09PNG": "a PNG of seven bits a byte",
            rb"RIFF.{4,12}WEBP": "a WebP converted to UTF-8",
            rb"\xff\xfe|\xfe\xff": "text in UTF-16, which PowerShell makes of a program's output",
        },
    ),
    (
        "unsupported",
        "decode it and upload the photo's own bytes",
        {
            rb"\s*[\"']?data:": "a data: URL",
            rb"\s*[\"']?(/9j/|iVBORw0KGg|R0lGOD|UklGR|AAAA[\w+/]{2}Z0eX)": "a photo in base64",
            rb"(?i)\s*(0x|\\x)?(ffd8ff|89504e47|47494638|52494646)": "a photo in hexadecimal",
            rb"b[\"']\\x": "Python's text of a photo's bytes",
        },
    ),
    (
        "unsupported",
        "upload the photo alone, without what was sent around it",
        {
            rb"(?i)--[^\r\n]{1,200}\r?\ncontent-": "the body of a multipart form",
            rb"HTTP/\d": "an HTTP response with its headers",
            rb"[0-9A-Fa-f]+;chunk-signature=": "an upload to S3 in signed chunks",
            rb"[0-9A-Fa-f]{1,8}\r\n(\xff\xd8\xff|\x89PNG|GIF8|RIFF)": "an HTTP body in chunks",
        },
    ),
    (
        "unsupported",
        "fetch the photo itself and upload that",
        {
            rb"version https://git-lfs": "a pointer of Git LFS instead of its file",
            rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)": "a web page, perhaps an error",
            rb"(\xef\xbb\xbf)?\s*(<\?xml.{,2000})?<(\w+:)?Error": "an XML error message",
            rb"\s*[{\[]\s*([\"{}\[\]\d]|$)": "JSON, perhaps an error message",
            rb"\[object ": "JavaScript's text of an object",
        },
    ),
    (
        "unsupported",
        "if it is the video of a Live Photo, upload the still",
        {
            rb".{4}ftyp(qt|iso|mp4|avc1|M4|m4|3g|f4|dash|MSNV|mmp4|XAVC)": "an MP4 or MOV video",
            rb".{4}(moov|mdat|wide|pnot)": "a MOV video",
            rb"RIFF.{4}AVI ": "an AVI video",
            rb"\x1aE\xdf\xa3": "a Matroska or WebM video",
            rb"\0\0\x01[\xba\xb3]|FLV\x01|0&\xb2u\x8ef\xcf\x11": "a video",
            rb"ID3|OggS|fLaC|RIFF.{4}WAVE|\xff[\xfb\xf3\xf2]": "a sound recording",
        },
    ),
    (
        "unsupported",
        f"save the photo as {FORMATS}",
        {
            rb".{4}ftypcrx|II\*\0.{4}CR|II\x1a\0\0\0HEAPCCDR": "a Canon raw photo",
            rb"FUJIFILMCCD-RAW": "a Fujifilm raw photo",
            rb"IIR[OS]|MMOR": "an Olympus raw photo",
            rb"IIU\0": "a Panasonic raw photo",
            rb"FOVb|\0MRM": "a raw photo",
            rb"(II[*+]\0|MM\0[*+]).{,1000}(NIKON|SONY|PENTAX|RICOH|Hasselblad|Leaf)": "a raw photo",
            rb"II[*+]\0|MM\0[*+]": "TIFF, or a camera's raw photo (DNG, NEF, ARW)",
            rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51": "JPEG 2000",
            rb"\0\0\0\x0cJXL |\xff\x0a": "JPEG XL",
            rb"II\xbc": "JPEG XR",
            rb"\x89PNG\r\n\x1a\n.{4}CgBI": "Apple's CgBI variant of PNG, made for apps",
            rb"[\x8a\x8b][MJ]NG": "MNG or JNG",
            rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0": "a compressed or rare kind of BMP",
            rb"8BPS": "a Photoshop document",
            rb"gimp xcf": "a GIMP document",
            rb"\0\0[\x01\x02]\0[^\0]": "an icon or a cursor",
            rb"P[1-7]\s": "PNM",
            rb"qoif|v/1\x01|#\?RADIANCE|DDS |FLIF|BPG\xfb|SIMPLE  =": "a rare format of pictures",
            rb"%PDF-": "a PDF document",
            rb"%!PS|\xc5\xd0\xd3\xc6": "PostScript",
            rb"(\xef\xbb\xbf)?\s*(<(\?xml|!--|!DOCTYPE).{,4000})?<(\w+:)?svg[\s>]": "an SVG drawing",
            rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF": "a Windows metafile",
            rb"\xd0\xcf\x11\xe0": "an old Office document or Thumbs.db",
        },
    ),
    (
        "unsupported",
        "extract the photos in it and upload those",
        {
            rb"PK[\x03\x05\x07]": "a ZIP archive, as are Office documents and apps",
            rb"\x1f\x8b": "a gzip file",
            rb"BZh\d|\xfd7zXZ|7z\xbc\xaf|\(\xb5/\xfd|Rar!|.{257}ustar": "an archive",
        },
    ),
    (
        "unsupported",
        "it belongs to no photo's pixels; remove it",
        {
            rb"\0\x05\x16[\0\x07]": "macOS' companion of a file (AppleDouble, ._name)",
            rb"\0\0\0\x01Bud1": "a folder's .DS_Store of macOS",
            rb"(\xef\xbb\xbf)?\s*<(\?xpacket|x:xmpmeta)": "a photo's XMP companion",
            rb"bplist|<\?xml.{,500}<plist": "a property list, perhaps a photo's AAE companion",
            rb"\x7fELF|MZ.{58}|SQLite format|PAR1|\x89HDF|\xca\xfe\xba\xbe": "a program or a database",
            rb"(\xef\xbb\xbf)?\s*<\?xml": "an XML document",
        },
    ),
)
_KINDS = [
    (re.compile(pattern, re.DOTALL), reason, f"it is {name}", fix)
    for reason, fix, names in _GROUPS
    for pattern, name in names.items()
]


def is_text(data: bytes) -> bool:
    """Whether the first 64 KiB are UTF-8 and not ASCII throughout, as no picture's are."""
    return _text(data) is not None and not data[:_HEAD].isascii()


def rejection(data: bytes) -> RejectedImage:
    """Why a file that is in none of our formats is no photo, as far as its beginning tells."""
    if not data:
        return RejectedImage("empty", "the file has no bytes; upload it again")
    reason, found, fix = _found(data)
    return RejectedImage(reason, f"{found}; {fix} (it begins with {data[:_QUOTED]!r})")


def _found(data: bytes) -> tuple[str, str, str]:
    if data.count(0) == len(data):
        return "corrupt", "it has zero bytes only; the disk or the upload failed", "upload it again"
    head = data[:_HEAD]
    for pattern, reason, found, fix in _KINDS:
        if pattern.match(head):
            return reason, found, fix
    text = _text(data)
    if text is None:
        return "unsupported", "its format is unknown", f"save the photo as {FORMATS}"
    if _CONTROL.search(text):
        return "corrupt", "it was converted to text", "upload it again as binary data"
    return "unsupported", "it is text", f"upload a photo as {FORMATS}"


def _text(data: bytes) -> str | None:
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data[:_HEAD])
    except UnicodeDecodeError:
        return None
