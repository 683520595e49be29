"""The page: an executed notebook as one HTML file that needs no network."""

from pathlib import Path

from nbconvert.exporters import HTMLExporter
from nbformat import NotebookNode

# Jupyter's own look without the scripts that its template loads from elsewhere, none of which is used.
TEMPLATE = """\
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
<style>
  body.jp-Notebook { padding: 1rem; }
  main { max-width: 1180px; margin: 0 auto; }
  .jp-RenderedHTMLCommon { font-size: 16px; line-height: 1.55; }
  .jp-MarkdownCell .jp-RenderedHTMLCommon { max-width: 46rem; }
  .jp-OutputArea-output { overflow-x: auto; }
  .jp-OutputArea-output img { max-width: 100%; height: auto; }
  .jp-InputPrompt, .jp-OutputPrompt { display: none; }
  .jp-InputArea-editor { border-radius: 4px; }
  .jp-RenderedHTMLCommon table { margin-left: 0; font-size: 14px; }
</style>
{%- endblock -%}
"""


def write(notebook: NotebookNode, title: str, target: Path) -> None:
    """Write the page to ``target``, whole or not at all."""
    exporter = HTMLExporter(raw_template=TEMPLATE, theme="light")
    html, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_text(html, encoding="utf-8")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
