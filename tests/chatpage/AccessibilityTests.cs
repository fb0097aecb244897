using System.Text.Json;
using Deque.AxeCore.Commons;
using OpenQA.Selenium;
using StreamingDaemon.Testing;

namespace StreamingDaemon.ChatPageTests;

/// <summary>The page with a keyboard, with a screen reader, and for eyes that need contrast.</summary>
public sealed class AccessibilityTests(Browser browser, SharedSites sites)
{
    private static readonly string s_axe = new BundledAxeScriptProvider().GetScript();

    [Theory]
    [InlineData("light")]
    [InlineData("dark")]
    public async Task Axe_finds_nothing_in_any_state_of_the_page(string scheme)
    {
        var site = await sites.GetAsync(Front.Demo);
        using var page = browser.Open(site);
        page.Prefer("prefers-color-scheme", scheme);
        Assert.Empty(Violations(page));

        var answer = site.NextAnswer().Say("Half an ");
        page.Ask("Tell me all");
        await Eventually.TrueAsync(() => page.Answers is ["Half an "]);
        Assert.Empty(Violations(page));

        answer.Break();
        await Eventually.TrueAsync(() => page.Problem.Length > 0);
        Assert.Empty(Violations(page));
        // The control: it is looked at.
        page.Run<object>("document.querySelector('[role=alert]').style.color = 'color-mix(in srgb, CanvasText 40%, Canvas)'");
        Assert.Contains("color-contrast", Violations(page));
    }

    [Theory]
    [InlineData("light")]
    [InlineData("dark")]
    public async Task Axe_finds_nothing_in_an_answer_with_reasoning_that_was_cut(string scheme)
    {
        var site = await sites.GetAsync(Front.Demo);
        using var page = browser.Open(site);
        page.Prefer("prefers-color-scheme", scheme);
        site.NextAnswer().Think("Let me see.").Say("Once upon a").End("length");
        page.Ask("A long story, please");
        await page.EndsAsync();
        Assert.Contains("cut off", page.Status, StringComparison.Ordinal);
        page.Run<object>("document.querySelector('details').open = true");

        Assert.Empty(Violations(page));
        Assert.Contains(AccessibilityTree(page), node => node.Name == "Reasoning");
    }

    [Fact]
    public async Task Everything_in_the_accessibility_tree_has_its_name_and_what_speaks_is_live()
    {
        var site = await sites.GetAsync(Front.Demo);
        using var page = browser.Open(site);
        Assert.Equal(["Your message", "Send"], page.Controls());
        var answer = site.NextAnswer().Say("Once upon ");
        page.Ask("A long story, please");
        await Eventually.TrueAsync(() => page.Answers.Count == 1);
        Assert.Equal(["History", "New chat", "Your message", "Stop"], page.Controls());

        var nodes = AccessibilityTree(page);

        Assert.Contains(("heading", "Chat"), nodes);
        Assert.Contains(("region", "Conversation"), nodes);
        Assert.Contains(("textbox", "Your message"), nodes);
        Assert.Contains(("button", "Stop"), nodes);
        Assert.Contains(("StaticText", "You: "), nodes);
        Assert.Contains(("StaticText", "Answer: "), nodes);
        Assert.Contains("status", nodes.Select(n => n.Role));
        Assert.Contains("alert", nodes.Select(n => n.Role));
        Assert.All(nodes.Where(n => n.Role is "button" or "textbox" or "link" or "region"),
            n => Assert.NotEqual("", n.Name));
        answer.End();
        await page.EndsAsync();
    }

    [Fact]
    public async Task Screen_reader_hears_sentences_and_not_each_token()
    {
        var site = await sites.GetAsync(Front.Demo);
        using var page = browser.Open(site);
        page.Run<object>("""
            window.heard = [];
            const observer = new MutationObserver(changes => changes.forEach(change =>
              change.addedNodes.forEach(node => node.textContent && heard.push(node.textContent))));
            for (const region of document.querySelectorAll("[aria-live], [role=status], [role=alert], [role=log]"))
              observer.observe(region, { childList: true, subtree: true });
            """);
        const string text = "It streams. Each word, as it is said, is shown! But 1.5 words a second are not read out: sentences are";
        var answer = site.NextAnswer();
        page.Ask("How?");
        await Eventually.TrueAsync(() => Heard(page).Length == 1);

        answer.Say(text.Split(' ').Select(word => word + " "));
        await Eventually.TrueAsync(() => page.Answers is [text + " "]);
        Assert.DoesNotContain(Spoken(page), said => said.Contains("sentences", StringComparison.Ordinal));
        answer.End();
        await page.EndsAsync();

        var heard = Heard(page);
        Assert.StartsWith("Waiting", heard[0], StringComparison.Ordinal);
        Assert.StartsWith("First word after", heard[1], StringComparison.Ordinal);
        Assert.Contains("complete after", heard[^1], StringComparison.Ordinal);
        // All of it, once, and in whole sentences.
        Assert.Equal(text + " ", string.Concat(Spoken(page)));
        Assert.All(Spoken(page).SkipLast(1), said => Assert.Matches("[.!] $", said));
        Assert.InRange(Spoken(page).Count, 1, 3);
    }

    [Fact]
    public async Task Everything_can_be_done_with_the_keyboard_and_the_focus_is_never_lost()
    {
        var site = await sites.GetAsync(Front.Demo);
        using var page = browser.Open(site);
        Assert.Equal("Your message", page.Focused);

        // Shift+Enter is a new line, Enter sends, and the box keeps the focus.
        page.Press("A story");
        page.ShiftPress(Keys.Enter);
        page.Press("please");
        Assert.Equal("A story\nplease", page.Draft);
        var first = site.NextAnswer().Say("Once ");
        page.Press(Keys.Enter);
        await Eventually.TrueAsync(() => page.Answers is ["Once "]);
        Assert.Equal("Your message", page.Focused);

        // Tab leads to Stop, which stops; the focus is on what stands in its place.
        page.Press(Keys.Tab);
        Assert.Equal("Stop", page.Focused);
        page.Press(Keys.Space);
        await (await first.Asked).Aborted.WaitAsync(TestClient.Patience);
        await page.EndsAsync();
        Assert.Equal("Send", page.Focused);

        // Send by its button, stop by Escape.
        page.ShiftPress(Keys.Tab);
        Assert.Equal("Your message", page.Focused);
        var second = site.NextAnswer().Say("Twice ");
        page.Press("Another", Keys.Tab, Keys.Enter);
        await Eventually.TrueAsync(() => page.Answers is [_, "Twice "]);
        Assert.Equal("Stop", page.Focused);
        page.Press(Keys.Escape);
        await (await second.Asked).Aborted.WaitAsync(TestClient.Patience);
        await page.EndsAsync();
        Assert.Equal("Send", page.Focused);

        // Back past the box to the conversation, which can be scrolled, and to New chat.
        page.ShiftPress(Keys.Tab);
        page.ShiftPress(Keys.Tab);
        Assert.Equal("Conversation", page.Focused);
        page.ShiftPress(Keys.Tab);
        Assert.Equal("New chat", page.Focused);
        page.Press(Keys.Enter);
        Assert.Empty(page.Answers);
        Assert.Equal("Your message", page.Focused);
    }

    [Fact]
    public async Task Long_conversation_scrolls_by_keyboard_and_the_end_is_followed_unless_the_reader_has_left_it()
    {
        var site = await sites.GetAsync(Front.Demo);
        using var page = browser.Open(site);
        page.Resize(360, 640, phone: true);
        var answer = site.NextAnswer().Say([.. Enumerable.Range(1, 60).Select(i => $"Line {i}\n")]);
        page.Ask("Count");
        await Eventually.TrueAsync(() => page.Answers is [var a] && a.EndsWith("60\n", StringComparison.Ordinal));
        Assert.True(FromTheEnd(page) < 60);

        page.ShiftPress(Keys.Tab);
        page.Press(Keys.Home);
        await Eventually.TrueAsync(() => page.Run<long>("return Math.round(document.activeElement.scrollTop)") == 0);
        var away = FromTheEnd(page);
        answer.Say("Line 61\n");
        await Eventually.TrueAsync(() => page.Answers is [var a] && a.EndsWith("61\n", StringComparison.Ordinal));

        Assert.True(FromTheEnd(page) > away);
        answer.End();
        await page.EndsAsync();
        Assert.Equal("Conversation", page.Focused);
    }

    [Theory]
    [InlineData("reduce", 0)]
    [InlineData("no-preference", 1)]
    public async Task Nothing_moves_for_those_who_do_not_want_it(string motion, int animations)
    {
        var site = await sites.GetAsync(Front.Demo);
        using var page = browser.Open(site);
        page.Prefer("prefers-reduced-motion", motion);
        var answer = site.NextAnswer();
        page.Ask("Well?");
        await answer.Asked;

        Assert.Equal(animations, page.Run<long>("return document.getAnimations().length"));

        answer.Say("Yes.").End();
        await page.EndsAsync();
        Assert.Equal(0, page.Run<long>("return document.getAnimations().length"));
    }

    private static long FromTheEnd(ChatPage page) => page.Run<long>("""
        const log = document.querySelector("[aria-label=Conversation]");
        return Math.round(log.scrollHeight - log.scrollTop - log.clientHeight);
        """);

    private static string[] Heard(ChatPage page) =>
        [.. page.Run<IReadOnlyCollection<object>>("return heard").Cast<string>()];

    /// <summary>What was heard of the answer itself.</summary>
    private static List<string> Spoken(ChatPage page) =>
        [.. Heard(page).Where(said => !said.StartsWith("Waiting", StringComparison.Ordinal)
            && !said.StartsWith("First word", StringComparison.Ordinal))];

    /// <summary>Rules that are broken, with those that axe counts as best practice.</summary>
    internal static string[] Violations(ChatPage page)
    {
        page.Run<object>("if (!window.axe) (0, eval)(arguments[0])", s_axe);
        var found = (string)page.RunToEnd("""
            const done = arguments[arguments.length - 1];
            axe.run({ resultTypes: ["violations"] }).then(r => done(JSON.stringify(r.violations.map(v => v.id))), done);
            """)!;
        return JsonSerializer.Deserialize<string[]>(found)!;
    }

    private static List<(string Role, string Name)> AccessibilityTree(ChatPage page) =>
        [.. page.DevTools("Accessibility.getFullAXTree").GetProperty("nodes").EnumerateArray()
            .Where(n => !n.GetProperty("ignored").GetBoolean())
            .Select(n => (Value(n, "role"), Value(n, "name")))];

    private static string Value(JsonElement node, string property) =>
        node.TryGetProperty(property, out var value) && value.TryGetProperty("value", out var text)
            ? text.ToString()
            : "";
}
