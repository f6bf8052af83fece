"""Markdown becomes elements of ours and nothing else, whatever it says and however it was cut on its way."""

from __future__ import annotations

import random
from typing import Any

import pytest
from playwright.async_api import expect

from tests.fakeprov.behaviours import flood, reply
from tests.page.conftest import Served, ask, replies

#: What people have tried. None of it may become more than text, and links to the web.
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "<details open ontoggle=alert(1)>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<form action=//evil.example><input name=x><button>ok</button></form>",
    "<base href='//evil.example/'>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<style>@import '//evil.example/x.css';</style>",
    "<object data=//evil.example></object><embed src=//evil.example>",
    "<video src=//evil.example/x onerror=alert(1)></video><audio src=//evil.example/y>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](&#x6A;avascript&colon;alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x]( javascript:alert(1) )",
    "[x](<javascript:alert(1)>)",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](blob:http://127.0.0.1/1)",
    "[x](file:///etc/passwd)",
    "[x](//evil.example/x)",
    "[x](/stepwire.v1.ConversationService/ListConversations)",
    "[x](#other)",
    '[x](https://a.example "onmouseover=alert(1) \\" x")',
    "[x](https://a.example/\"onmouseover='alert(1)')",
    "![x](https://evil.example/track.png)",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml,<svg onload=alert(1)>)",
    "[![x](https://evil.example/a.png)](javascript:alert(1))",
    "[x][1]\n\n[1]: javascript:alert(1)",
    "![x][1]\n\n[1]: https://evil.example/x.png",
    "<javascript:alert(1)>",
    "<https://a.example/<script>alert(1)</script>>",
    "www.evil.example/<img/src=x/onerror=alert(1)>",
    '```" onclick=alert(1) x="\n<script>alert(1)</script>\n```',
    "```<img src=x onerror=alert(1)>\ncode\n```",
    "`<img src=x onerror=alert(1)>`",
    "| <img src=x onerror=alert(1)> | b |\n|---|---|\n| <script>alert(1)</script> | [x](javascript:alert(1)) |",
    "- [ ] <input autofocus onfocus=alert(1)>",
    "# <img src=x onerror=alert(1)>",
    "&lt;img src=x onerror=alert(1)&gt;",
    "&amp;lt;script&amp;gt;",
    "\u202e<script>alert(1)</script>",
    "__proto__ [x](constructor) ![__proto__](x)",
    "[__proto__]\n\n[__proto__]: https://a.example",
]
ALLOWED = {
    *("a", "blockquote", "br", "button", "code", "del", "div", "em", "figcaption", "figure", "h3", "h4", "h5", "h6"),
    *("hr", "input", "li", "ol", "p", "path", "pre", "span", "strong", "svg", "table", "tbody", "td", "th", "thead"),
    *("tr", "ul"),
}
ATTRIBUTES = {
    *("aria-hidden", "aria-label", "checked", "class", "d", "dir", "disabled", "href", "rel", "role", "scope", "start"),
    *("tabindex", "target", "title", "type", "viewBox"),
}
TEXT = """# Title with `code`

A paragraph with **strong**, *emphasis*, ~~gone~~ and a [link][ref] & an ampersand,
over two lines, and <b>html</b>.

1. one
2. two
   - nested `x`
   - [x] done

   a loose paragraph
3. three

> quoted
> > twice

```python
def f(x):
    return "```" + x
```

| a | b |
|:--|--:|
| 1 | 2 |

Setext
======
***
<div>
block html
</div>

    indented code

Last words: a*b*c \\*not\\* https://example.com/x_y_z.

[ref]: https://example.com "title"
"""

#: Shows a text as it grows by pieces, then whole; gives the HTML of both ways, for comparison only.
GROWN = """
async ([text, cuts]) => {
  const {Growing} = await import("/js/growing.js");
  const one = document.createElement("div"), other = document.createElement("div");
  const growing = new Growing(one);
  for (const cut of cuts) growing.set(text.slice(0, cut));
  const grown = one.innerHTML;
  growing.finish(text);
  const whole = new Growing(other);
  whole.finish(text);
  return [grown, one.innerHTML, other.innerHTML];
}
"""
SHOWN_ONCE = """
async (text) => {
  const {Growing} = await import("/js/growing.js");
  const box = document.createElement("div");
  new Growing(box).finish(text);
  return box.textContent.length;
}
"""
#: All that a text became: tags, attributes, goals of links, and what is not an element or a text.
SHOWN = """
async (texts) => {
  const {Growing} = await import("/js/growing.js");
  return texts.map((text) => {
    const box = document.createElement("div");
    document.querySelector("#thread").append(box);
    const growing = new Growing(box);
    for (let cut = 1; cut < text.length; cut++) growing.set(text.slice(0, cut));
    growing.finish(text);
    const all = [...box.querySelectorAll("*")];
    return {
      tags: all.map((each) => each.localName),
      attributes: all.flatMap((each) => each.getAttributeNames()),
      links: all.filter((each) => each.localName === "a").map((each) => each.protocol),
      rels: all.filter((each) => each.localName === "a").map((each) => each.rel),
      text: box.textContent,
    };
  });
}
"""


async def test_no_text_becomes_anything_but_our_own_elements(page: Any) -> None:
    await expect(page.locator("#model option").first).to_have_text("fable")
    for text, shown in zip(HOSTILE, await page.evaluate(SHOWN, HOSTILE), strict=True):
        assert set(shown["tags"]) <= ALLOWED, text
        assert set(shown["attributes"]) <= ATTRIBUTES, text
        assert set(shown["links"]) <= {"http:", "https:", "mailto:"}, text
        assert all("noopener" in rel for rel in shown["rels"]), text
    # That nothing ran and nothing was asked for elsewhere is what every test's guard checks.


async def test_a_hostile_reply_does_nothing(served: Served, page: Any) -> None:
    text = "\n\n".join(HOSTILE)
    served.behave(reply([text[at : at + 7] for at in range(0, len(text), 7)]))
    await ask(page, "<img src=x onerror=alert(1)> [x](javascript:alert(1))")
    await expect(page.locator(".stats")).to_be_visible()
    await page.reload()
    await expect(replies(page)).to_contain_text("<script>alert(1)</script>")
    assert await page.locator(".turn img, .turn script, .turn iframe, .turn form, .turn style").count() == 0


async def test_text_that_grows_ends_as_the_same_text_does_that_is_there_at_once(page: Any) -> None:
    grown, finished, whole = await page.evaluate(GROWN, [TEXT, list(range(1, len(TEXT) + 1))])
    assert finished == whole
    assert "<table>" in grown
    assert 'href="https://example.com/"' in whole


@pytest.mark.parametrize(
    ("text", "more", "part"),
    [
        ("- one\n- two\n- three\n", "- four\n- five", "li"),
        ("3. one\n4. two\n5. three\n", "6. four\n7. five", "li"),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n", "| 3 | 4 |\n| 5 | 6", "tbody tr"),
        ("```\none\n", "two\nthree", "pre"),
    ],
    ids=["list", "numbers", "table", "code"],
)
async def test_what_stands_stays_the_same_element_while_its_block_grows(
    page: Any, text: str, more: str, part: str
) -> None:
    kept = await page.evaluate(
        """async ([text, more, part]) => {
          const {Growing} = await import("/js/growing.js");
          const box = document.createElement("div");
          const growing = new Growing(box);
          growing.set(text);
          const before = box.querySelector(part);
          for (let cut = 1; cut <= more.length; cut++) growing.set(text + more.slice(0, cut));
          growing.finish(text + more);
          return [before === box.querySelector(part), box.textContent.includes(more.slice(-1))];
        }""",
        [text, more, part],
    )
    assert kept == [True, True]


async def test_text_reads_in_the_direction_of_its_letters_and_code_always_from_the_left(page: Any) -> None:
    text = "שלום `x` עולם.\n\nHello.\n\n- שלום\n- b\n\n```\nשלום = 1\n```\n\n| שלום |\n|---|\n| a |"
    shown = await page.evaluate(
        """async (text) => {
          const {Growing} = await import("/js/growing.js");
          const box = document.createElement("div");
          document.querySelector("#thread").append(box);
          new Growing(box).finish(text);
          return [...box.children].map((each) => `${each.localName} ${getComputedStyle(each).direction}`);
        }""",
        text,
    )
    assert shown == ["p rtl", "p ltr", "ul rtl", "figure ltr", "div rtl"]


@pytest.mark.parametrize("length", [1, 30_000], ids=["coloured", "plain"])
async def test_characters_that_turn_the_order_of_letters_are_seen_in_code_and_turn_nothing(
    served: Served, page: Any, length: int
) -> None:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    code = "// admin \u202e } \u2066 if\nx = '\u202e'" + "\nlet" * length + " y\u2067z"
    served.behave(reply(["```js\n", code, "\n```"]))
    await ask(page, "Code?")
    await expect(page.locator(".code-turn")).to_have_text(["\u202e", "\u2066", "\u202e", "\u2067"])
    await page.locator("figure.code").get_by_role("button", name="Copy").click()
    await expect(page.locator("figure.code button")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == code


async def test_however_texts_are_cut_no_piece_of_them_fails(page: Any) -> None:
    chance = random.Random(7)
    marks = ["```", "~~~", "> ", "- ", "1. ", "    ", "|", "---", "===", "\n\n", "**", "[", "]("]
    pieces = [*TEXT.split("\n"), *HOSTILE, *marks]
    for _ in range(60):
        text = "".join(chance.choice(pieces) + chance.choice(["", " ", "\n", "\n\n"]) for _ in range(25))
        cuts = sorted(chance.sample(range(len(text) + 1), min(20, len(text))))
        _, finished, whole = await page.evaluate(GROWN, [text, cuts])
        assert finished == whole, text


async def test_texts_made_to_be_hard_to_read_are_shown_all_the_same(page: Any) -> None:
    deep = ["> " * 4000 + "x", "- " * 2000 + "x"]
    hard = [text * 10_000 for text in ("[", "*a_", "(", "`", "<", "|a", "![", "](", "~~a ", "&amp;")]
    for text in [*deep, *hard]:
        assert await page.evaluate(SHOWN_ONCE, text) > 0, text[:10]


async def test_a_flood_is_shown_in_few_steps_and_the_page_stays_usable(served: Served, page: Any) -> None:
    served.behave(flood(64 * 400, token="word\n\n"))
    await page.evaluate(
        """() => {
          window.frames_ = 0;
          const thread = document.querySelector("#thread");
          new MutationObserver(() => window.frames_++).observe(thread, {childList: true, subtree: true});
        }"""
    )
    await ask(page, "Much, please.")
    await expect(page.locator(".stats")).to_be_visible()
    assert await page.locator(".prose > p").count() == 64 * 400
    assert await page.evaluate("window.frames_") < 2000
    await ask(page, "And again.")
    await expect(page.locator(".turn.user")).to_have_count(2)


async def test_code_has_its_language_colour_and_a_button_that_copies_it(served: Served, page: Any) -> None:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    code = 'def greet(name):  # a comment\n    return "hi " + name * 2\n'
    served.behave(reply([f"```python\n{code}```\n"]))
    await ask(page, "Code?")
    block = page.locator("figure.code")
    await expect(block.locator("figcaption span")).to_have_text("python")
    await expect(block.locator(".code-keyword")).to_have_text(["def", "return"])
    await expect(block.locator(".code-comment")).to_have_text("# a comment")
    await block.get_by_role("button", name="Copy").click()
    await expect(block.locator("button")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == code.rstrip("\n")
