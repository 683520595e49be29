"""Files that are no photo: each rejected as what it is, through processor.photos.decode."""

import base64
import gzip
import io
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.photos.foreign import rejection as named
from tests.support.pictures import chunk, encode, rejection, scene

PHOTOS = {kind: encode(scene(), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF")}
JPEG, PNG = PHOTOS["JPEG"], PHOTOS["PNG"]


def zipped(name):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"x")
    return file.getvalue()


def ftyp(brand):
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0" + brand + bytes(100)


def form(data):
    return b'--x-1\r\nContent-Disposition: form-data; name="f"\r\n\r\n' + data + b"\r\n--x-1--\r\n"


UNSUPPORTED = {  # what it is, and a word of its detail beside what to do
    "Live Photo": (ftyp(b"qt  "), "video", "still"),
    "MP4": (ftyp(b"isom"), "video", "still"),
    "MP4 of Apple": (ftyp(b"mp42"), "video", "still"),
    "MOV without brands": (b"\0\0\0\x08wide\0\0\1\0mdat", "video", "still"),
    "AVI": (b"RIFF\x10\0\0\0AVI LIST", "video", "still"),
    "WebM": (b"\x1aE\xdf\xa3" + bytes(40), "video", "still"),
    "WAV": (b"RIFF\x10\0\0\0WAVEfmt ", "sound", "still"),
    "CR2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(100), "Canon raw", "JPEG"),
    "CR3": (ftyp(b"crx "), "Canon raw", "JPEG"),
    "NEF": (b"MM\0*\0\0\0\x08" + bytes(200) + b"NIKON CORPORATION\0", "raw photo", "JPEG"),
    "DNG": (b"II*\0\x08\0\0\0\x01\0\x12\xc6\1\0\4\0\0\0\1\4\0\0" + bytes(100), "DNG", "JPEG"),
    "RAF": (b"FUJIFILMCCD-RAW 0201", "Fujifilm raw", "JPEG"),
    "ORF": (b"IIRO\x08\0\0\0", "Olympus raw", "JPEG"),
    "RW2": (b"IIU\0\x18\0\0\0", "Panasonic raw", "JPEG"),
    "TIFF": (encode(scene(), "TIFF"), "TIFF", "JPEG"),
    "BigTIFF": (b"II+\0\x08\0\0\0", "TIFF", "JPEG"),
    "JPEG 2000": (encode(scene(), "JPEG2000"), "JPEG 2000", "PNG"),
    "JPEG 2000 stream": (encode(scene(), "JPEG2000", no_jp2=True), "JPEG 2000", "PNG"),
    "JPEG XL": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), "JPEG XL", "PNG"),
    "JPEG XL stream": (b"\xff\x0a\xfa\x1f\x41\x91", "JPEG XL", "PNG"),
    "JPEG XR": (b"II\xbc\x01" + bytes(20), "JPEG XR", "PNG"),
    "CgBI": (PNG[:8] + chunk(b"CgBI", b"P\0 \2") + PNG[8:], "CgBI", "PNG"),
    "MNG": (b"\x8aMNG\r\n\x1a\n", "MNG", "PNG"),
    "Photoshop": (b"8BPS\0\1", "Photoshop", "PNG"),
    "ICO": (encode(scene(), "ICO"), "icon", "PNG"),
    "PPM": (encode(scene(), "PPM"), "PNM", "PNG"),
    "PDF": (encode(scene(), "PDF"), "PDF", "PNG"),
    "PostScript": (encode(scene(), "EPS"), "PostScript", "PNG"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG", "PNG"),
    "SVG behind its prologue": (b'<?xml version="1.0"?>\n<!-- a -->\n<svg\n/>', "SVG", "PNG"),
    "TGA": (encode(scene(), "TGA"), "unknown", "JPEG, PNG, WebP, GIF, BMP, HEIC or AVIF"),
    "noise": (b"\x03\x1b\n\r\xff\xfe" * 100, "unknown", "JPEG, PNG, WebP, GIF, BMP, HEIC or AVIF"),
    "one byte": (b"\xff", "unknown", "JPEG, PNG, WebP, GIF, BMP, HEIC or AVIF"),
    "RIFF alone": (b"RIFF\xff", "unknown", "JPEG, PNG, WebP, GIF, BMP, HEIC or AVIF"),
    "ZIP": (zipped("photo.jpg"), "ZIP", "extract"),
    "empty ZIP": (b"PK\5\6" + bytes(18), "ZIP", "extract"),
    "document or app": (zipped("[Content_Types].xml"), "Office documents and apps", "extract"),
    "gzip": (gzip.compress(JPEG), "gzip", "extract"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "archive", "extract"),
    "tar": (bytes([97]) * 257 + b"ustar\0", "archive", "extract"),
    "note": (b"just a note, renamed to photo.jpg", "just a note", "photo"),
    "note about a car": (b"BMW is a car", "text", "photo"),
    "note with umlauts": ("Äpfel, Äpfel, Äpfel".encode(), "text", "photo"),
    "web page": (b"<html><body>404 Not Found", "<html>", "fetch"),
    "web page with doctype": (b"\xef\xbb\xbf\n<!DOCTYPE html><html>", "web page", "fetch"),
    "error of S3": (
        b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>',
        "error",
        "fetch",
    ),
    "XML": (b'<?xml version="1.0"?><a/>', "XML", "remove"),
    "JSON": (json.dumps({"error": "no"}).encode(), "JSON", "fetch"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS", "fetch"),
    "JavaScript": (b"[object Object]", "JavaScript", "fetch"),
    "HTTP": (b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + JPEG, "HTTP", "alone"),
    "form": (form(JPEG), "multipart form", "alone"),
    "signed chunks": (b"2e;chunk-signature=00\r\n" + JPEG, "signed chunks", "alone"),
    "chunks": (b"2e\r\n" + JPEG, "chunks", "alone"),
    "AppleDouble": (b"\0\5\x16\7\0\2\0\0Mac OS X", "AppleDouble", "remove"),
    "AAE": (b'<?xml version="1.0"?>\n<!DOCTYPE plist><plist version="1.0">', "AAE", "remove"),
    "XMP": (b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>", "XMP", "remove"),
    "data URL": (b"data:image/png;base64," + base64.b64encode(PNG), "data:", "decode"),
    "quoted data URL": (b'"data:image/png;base64,' + base64.b64encode(PNG), "data:", "decode"),
    "base64 of HEIC": (base64.b64encode(ftyp(b"heic")), "base64", "decode"),
    "hexadecimal": (JPEG.hex().encode(), "hexadecimal", "decode"),
    "bytes as text": (repr(JPEG).encode(), "Python", "decode"),
    "compressed BMP": (
        b"BM" + bytes(12) + b"\x28\0\0\0" + bytes(4 + 4 + 2) + b"\x08\0\1\0\0\0" + bytes(20),
        "BMP",
        "PNG",
    ),
    **{
        f"base64 of {kind}": (base64.b64encode(data), "base64", "decode")
        for kind, data in PHOTOS.items()
    },
}
CORRUPT = {
    "zero bytes": (bytes(5000), "zero bytes", "upload it again"),
    "one zero byte": (b"\0", "zero bytes", "upload it again"),
    "text in UTF-16": (PNG.decode("latin-1").encode("utf-16"), "UTF-16", "binary"),
    "CRLF to LF": (PNG.replace(b"\r\n", b"\n"), "line ends", "binary"),
    "LF to CRLF": (PNG.replace(b"\n", b"\r\n"), "line ends", "binary"),
    "LF to CR": (PNG.replace(b"\n", b"\r"), "line ends", "binary"),
    "CR to LF": (PNG.replace(b"\r", b"\n"), "line ends", "binary"),
    "seven bits": (bytes(byte & 0x7F for byte in PNG), "seven bits", "binary"),
    **{
        f"{kind} with U+FFFD": (data.decode(errors="replace").encode(), "text", "binary")
        for kind, data in PHOTOS.items()
    },
    **{
        f"{kind} in UTF-8": (data.decode("latin-1").encode(), "UTF-8", "binary")
        for kind, data in PHOTOS.items()
        if kind != "GIF"
    },
    "GIF in UTF-8": (PHOTOS["GIF"].decode("latin-1").encode(), "text", "binary"),
    "PNG of Windows in UTF-8": (PNG.replace(b"\x89", "\u2030".encode()), "UTF-8", "binary"),
}


NAMED = [("unsupported", UNSUPPORTED), ("corrupt", CORRUPT)]


@pytest.mark.parametrize(
    ("reason", "data", "what", "fix"),
    [
        pytest.param(reason, *file, id=f"{reason}: {name}")
        for reason, files in NAMED
        for name, file in files.items()
    ],
)
def test_a_file_that_is_no_photo_is_named_and_says_what_to_do(reason, data, what, fix):
    rejected = rejection(data)
    assert rejected.reason == reason
    assert what in rejected.detail
    assert fix in rejected.detail


def test_a_file_without_bytes_is_empty():
    assert rejection(b"").reason == "empty"


@given(st.binary(max_size=80))
def test_any_bytes_get_a_detail_that_is_short_and_printable(data):
    """And quoted so that no byte of theirs takes part in a line of the log."""
    rejected = named(data)
    assert rejected.detail.isprintable()
    assert len(rejected.detail) < 250
    if data and data.count(0) < len(data):
        assert rejected.detail.endswith(" ".join(f"(it begins with {data[:16]!r})".split()))
