"""Keys that S3 takes as they are, and clients may not."""

PLAIN_KEYS = [
    *(
        "a b.jpg",
        " a ",
        "ü/é.jpg",
        "e\u0301",
        "日本/🍎",
        "\ufeffa",
        "\u202ea",
        "a\x85b",
        "a\u2028b",
    ),
    *("a+b", "a%2Fb", "a/%2e%2e/b", ".%2e/a", "%", "a%zz", "a?b=c", "a?versionId=1", "a#b", "a&b"),
    *("...", "a/.../b", "a/..b", "a/b..", "a\\..\\b", "a\\b", "~a", "a*b'(c)!", "a:b@c;d"),
    *('[a]{b}|^`<>"', "x" * 1000),
]
# As a path each names another object, or none.
ODD_KEYS = [
    *("a//b.jpg", "/a.jpg", "//a.jpg", "/a/", "a/", "a//", "/", "//"),
    *("a/../b.jpg", "../b.jpg", "..", "a/./b.jpg", "./a", "."),
    *("a\nb", "a\tb", "a\x00b", "a\x1fb", "a\x7fb", "a\r\nHost: b"),
]
