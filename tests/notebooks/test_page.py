"""The page: whole, with everything in it."""

import re
from pathlib import Path

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from notebooks import page


def test_a_page_needs_no_network(tmp_path: Path) -> None:
    output = new_output("stream", text="<script>printed</script>")
    cells = [new_markdown_cell("# Title"), new_code_cell("print(1)", outputs=[output])]
    page.write(new_notebook(cells=cells), "A & B", tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>A &amp; B</title>" in html
    assert "&lt;script&gt;printed" in html
    assert not re.search(r"<(script|link|iframe|img)\b[^>]*(src|href)=[\"']?(?!data:)", html)
    assert not re.search(r"@import|url\([\"']?(?!data:|#)\w+:", html)
    assert "import(" not in html
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
