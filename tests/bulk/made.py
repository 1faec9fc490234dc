"""Documents made by hand, as small as they can be and real."""

from collections.abc import Sequence


def pdf(pages: Sequence[Sequence[str]], title: str | None = None) -> bytes:
    """A PDF with these lines on its pages. Latin letters only."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for lines in pages:
        shown = "".join(f"({line.replace('(', '').replace(')', '')}) Tj 0 -14 Td\n" for line in lines)
        content = f"BT /F1 12 Tf 50 750 Td\n{shown}ET".encode("latin-1")
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >>"
            b" /Contents %d 0 R >>" % len(objects)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids))
    if title:
        objects.append(b"<< /Title (%s) >>" % title.encode("latin-1"))
    written, places = b"%PDF-1.4\n", []
    for number, item in enumerate(objects, 1):
        places.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, item)
    info = b" /Info %d 0 R" % len(objects) if title else b""
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    end = b"trailer\n<< /Size %d /Root 1 0 R%s >>\nstartxref\n%d\n%%%%EOF\n" % (size, info, len(written))
    return written + b"xref\n0 %d\n0000000000 65535 f \n" % size + table + end


HTML = """<!doctype html><html><head><title>The zoo</title><style>p {color: red}</style></head><body>
<nav><a href="/">Home of menus</a></nav><script>let hidden = 1</script><!-- a comment -->
<main><h1>The zoo</h1><p>It has <b>many</b> animals.</p><p>Come &amp; see.</p>
<h2>Opening hours</h2><ul><li>Monday: closed</li><li>Tuesday: 9&nbsp;to 5</li></ul><div hidden>Not shown</div></main>
</body></html>"""

MARKDOWN = """---
title: "A garden"
---
# A garden

Read [the guide](https://example.com/guide) first.

## Roses

They need sun.

```
# this is no heading
```

Underlined
----------

- Water them. See ![a picture](rose.png).
"""
