using OpenQA.Selenium;
using StreamingDaemon.Testing;

namespace StreamingDaemon.ChatPageTests;

/// <summary>Markdown of an answer, as elements and never as somebody's HTML.</summary>
public sealed class MarkdownTests(Browser browser, SharedSites sites)
{
    private const string Text = "document.querySelector('.message.assistant:last-child .text')";

    /// <summary>Markdown, and what becomes of it.</summary>
    public static TheoryData<string, string> Samples => new()
    {
        { "# One\n### Two #\ntext", "<h2>One</h2><h3>Two</h3><p>text</p>" },
        { "a\nb\n\nc", "<p>a\nb\n</p><p>c</p>" },
        { "**b** *i* ***bi*** ~~s~~ _i_ __b__ `c*o*de` snake_case 2 * 3 * 4",
            "<p><strong>b</strong> <em>i</em> <strong><em>bi</em></strong> <del>s</del> <em>i</em> <strong>b</strong> "
            + "<code>c*o*de</code> snake_case 2 * 3 * 4</p>" },
        { "**open and *more\n\n\\*not\\* ``a`b``", "<p>**open and *more\n</p><p>*not* <code>a`b</code></p>" },
        { "- a\n- b\n  - c\n    1. d\n\n  more\n\n- [x] e\n* f",
            "<ul><li><p>a</p></li><li><p>b\n</p><ul><li><p>c\n</p><ol><li><p>d</p></li></ol></li></ul><p>more</p></li>"
            + "<li><p>☑ e</p></li></ul><ul><li><p>f</p></li></ul>" },
        { "7. a\n8. b\n- - -\n> q\n> 1. r", "<ol start=\"7\"><li><p>a</p></li><li><p>b</p></li></ol><hr>"
            + "<blockquote><p>q\n</p><ol><li><p>r</p></li></ol></blockquote>" },
        { "| a | b |\n|:-:|--:|\n| `x` | 1 \\| 2 |\n| y |\n\nend",
            "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Table\"><table>"
            + "<thead><tr><th style=\"text-align: center;\">a</th><th style=\"text-align: end;\">b</th></tr></thead>"
            + "<tbody><tr><td style=\"text-align: center;\"><code>x</code></td><td style=\"text-align: end;\">1 | 2</td></tr>"
            + "<tr><td style=\"text-align: center;\">y</td><td style=\"text-align: end;\"></td></tr></tbody></table></div><p>end</p>" },
        { "Look:\n```c++ x\n# <b>\n\n  - y\n```\nDone.",
            "<p>Look:\n</p><div class=\"code\"><div><span>c++</span><button class=\"plain copy\" type=\"button\">Copy</button></div>"
            + "<pre tabindex=\"0\"><code># &lt;b&gt;\n\n  - y</code></pre></div><p>Done.</p>" },
        { "~~~\nopen ```\n", "<div class=\"code\"><div><span></span><button class=\"plain copy\" type=\"button\">Copy</button></div>"
            + "<pre tabindex=\"0\"><code>open ```\n</code></pre></div>" },
        { "[a *b*](https://a.test/x_(y)?z#1 \"t\") <mailto:a@b.test> ![p](http://b.test/p.png)",
            Link("https://a.test/x_(y)?z#1", "a <em>b</em>") + " " + Link("mailto:a@b.test", "mailto:a@b.test") + " "
            + Link("http://b.test/p.png", "p", last: true) },
        { "#1 of 2\n#2", "<p>#1 of 2\n#2</p>" },
    };

    public static TheoryData<string> Attacks =>
    [
        "<script>document.title = 'run'</script><img src=x onerror=\"document.title='run'\"><svg/onload=alert(1)>",
        "[x](javascript:document.title='run') [y](JaVaScRiPt:alert(1)) [z](java\tscript:alert(1)) <javascript:alert(1)>",
        "[x](data:text/html,<script>alert(1)</script>) [y](vbscript:x) [z](stream.php?resume=x) [w](//evil.test) [f](file:///etc)",
        "![x](http://127.0.0.1:1/x.png) ![y](data:image/svg+xml,<svg/onload=alert(1)>) ![z](x.png)",
        "[x](https://a.test\"onmouseover=\"alert(1)) [<img src=x onerror=alert(1)>](https://a.test)",
        "```js\"><img src=x onerror=alert(1)>\n</code></pre><script>document.title='run'</script>\n```",
        "| <b onclick=alert(1)>a</b> | b |\n|---|---|\n| <iframe src=javascript:alert(1)></iframe> | </table><script>x</script> |",
        "# <h1 onclick=alert(1)>\n- <style>*{display:none}</style>\n> <base href=//evil.test>\n\n<form action=//evil.test><button>",
    ];

    [Theory, MemberData(nameof(Samples))]
    public async Task Markdown_is_the_same_elements_however_it_comes(string markdown, string html)
    {
        var site = await sites.GetAsync(Front.Demo);
        using var page = browser.Open(site);
        var answer = site.NextAnswer();
        page.Ask("Well?");
        foreach (var rune in markdown.EnumerateRunes())
            answer.Say(rune.ToString());
        answer.End();
        await page.EndsAsync();

        Assert.Equal(html, Html(page));
        // The page draws what has come as often as it can: here, after each character.
        Assert.Equal(html, page.Run<string>("""
            const text = document.createElement("div"), writer = new MarkdownWriter(text);
            for (const character of arguments[0]) {
              writer.add(character);
              writer.draw();
            }
            return text.innerHTML;
            """, markdown));
        page.Reload();
        await Eventually.TrueAsync(() => page.Answers.Count == 1);
        Assert.Equal(html, Html(page));
    }

    [Theory, MemberData(nameof(Attacks))]
    public async Task Hostile_answer_is_text_and_its_links_lead_elsewhere_only_if_they_are_clicked(string markdown)
    {
        var site = await sites.GetAsync(Front.Apache);
        using var page = browser.Open(site);
        var answer = site.NextAnswer().Say(markdown.EnumerateRunes().Select(rune => rune.ToString()));
        answer.End();
        page.Ask("Be bad");
        await page.EndsAsync();

        var odd = page.Run<string>($$"""
            const known = /^(P|H[2-6]|UL|OL|LI|BLOCKQUOTE|HR|TABLE|THEAD|TBODY|TR|TH|TD|DIV|SPAN|PRE|CODE|EM|STRONG|DEL|A|BUTTON)$/;
            const attributes = /^(class|start|style|type|tabindex|role|aria-label|href|target|rel)$/;
            return [...{{Text}}.querySelectorAll("*")].filter(e => !known.test(e.tagName)
                || [...e.attributes].some(a => !attributes.test(a.name))
                || e.localName === "a" && !/^(https?|mailto):$/.test(e.protocol)
                || e.localName === "a" && e.rel !== "noopener noreferrer")
              .map(e => e.outerHTML).join("\n");
            """);
        Assert.Equal("", odd);
        Assert.Equal("Chat", page.Run<string>("return document.title"));
        Assert.Equal([site.Url, site.Url + "stream.php"], page.Requests());
    }

    [Fact]
    public async Task Blocks_that_have_ended_are_not_built_again_and_code_that_grows_is_appended_to()
    {
        var site = await sites.GetAsync(Front.Demo);
        using var page = browser.Open(site);
        var answer = site.NextAnswer().Say("First.\n\nSecond.\n\n```\nline 0\n");
        page.Ask("Well?");
        await Eventually.TrueAsync(() => page.Answers is [var a] && a.Contains("line 0", StringComparison.Ordinal));
        page.Run<object>($$"""
            window.marked = [...{{Text}}.children, {{Text}}.querySelector("code").firstChild];
            """);

        answer.Say(Enumerable.Range(1, 2000).Select(i => $"line {i}\n"));
        await Eventually.TrueAsync(() => page.Answers is [var a] && a.Contains("line 2000", StringComparison.Ordinal));
        answer.Say("```\n\nLast.").End();
        await page.EndsAsync();

        Assert.True(page.Run<bool>($$"""
            const code = {{Text}}.querySelector("code");
            return marked.length === 4 && marked.slice(0, 3).every((e, i) => e === {{Text}}.children[i])
              && code.firstChild === marked[3] && code.childNodes.length === 1;
            """));
    }

    [Fact]
    public async Task Code_is_copied_by_its_button_as_it_is()
    {
        var site = await sites.GetAsync(Front.Apache);
        using var page = browser.Open(site);
        page.DevTools("Browser.grantPermissions", new() { ["permissions"] = new[] { "clipboardSanitizedWrite" } });
        site.NextAnswer().Say("Do:\n```sh\nls -l \\\n  | grep '<x>'\n```\n").End();
        page.Ask("How?");
        await page.EndsAsync();

        page.Click("Copy");

        await Eventually.TrueAsync(() => page.Shows("Copied"));
        Assert.Equal("Copied", page.Focused);
        page.Control("Your message").Click();
        page.PressWith(Keys.Control, "v");
        Assert.Equal("ls -l \\\n  | grep '<x>'", page.Draft);
    }

    [Theory]
    [InlineData("light")]
    [InlineData("dark")]
    public async Task Phone_shows_wide_code_and_tables_without_scrolling_the_page_and_axe_finds_nothing(string scheme)
    {
        var site = await sites.GetAsync(Front.Demo);
        using var page = browser.Open(site);
        page.Prefer("prefers-color-scheme", scheme);
        page.Resize(360, 640, phone: true);
        var wide = string.Join(" | ", Enumerable.Range(1, 30).Select(i => $"column {i}"));
        var rule = string.Concat(Enumerable.Repeat("---|", 30));
        site.NextAnswer().Say($"## Wide\n```\n{new string('x', 400)}\n```\n```js\n1\n```\n", $"| {wide} |\n|{rule}\n| {wide} |\n\n",
            "> A [link](https://a.test/) and `code`\n\n#### Deep\n1. one").End();
        page.Ask("Show me");
        await page.EndsAsync();

        Assert.Equal(360, page.Run<long>("return document.documentElement.scrollWidth"));
        Assert.Equal(0, page.Run<long>("""
            const log = document.querySelector("[aria-label=Conversation]");
            return log.scrollWidth - log.clientWidth;
            """));
        Assert.Empty(AccessibilityTests.Violations(page));
        page.Click("History");
        Assert.Empty(AccessibilityTests.Violations(page));
    }

    private static string Link(string href, string text, bool last = false) =>
        (href.StartsWith("https", StringComparison.Ordinal) ? "<p>" : "")
        + $"<a href=\"{href}\" target=\"_blank\" rel=\"noopener noreferrer\">{text}</a>" + (last ? "</p>" : "");

    private static string Html(ChatPage page) => page.Run<string>($"return {Text}.innerHTML");
}
