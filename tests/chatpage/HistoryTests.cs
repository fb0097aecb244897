using OpenQA.Selenium;
using StreamingDaemon.Testing;

namespace StreamingDaemon.ChatPageTests;

/// <summary>Conversations on the side.</summary>
public sealed class HistoryTests(Browser browser, SharedSites sites)
{
    public static TheoryData<Front> Both => SharedSites.Both;

    [Theory, MemberData(nameof(Both))]
    public async Task Conversations_are_there_after_a_reload_and_go_on_where_they_were(Front front)
    {
        var site = await sites.GetAsync(front);
        using var page = browser.Open(site);
        await StreamingTests.AskAsync(site, page, "First question", "First answer.");
        page.Click("New chat");
        await StreamingTests.AskAsync(site, page, "Second question", "Second answer.");
        Assert.Equal(["Second question", "First question"], page.History);

        page.Reload();

        await Eventually.TrueAsync(() => page.Answers is ["Second answer."]);
        page.Click("History");
        page.Click("First question");
        await Eventually.TrueAsync(() => page.Answers is ["First answer."]);
        Assert.False(page.Shows("First question"));
        Assert.Equal("Conversation", page.Focused);
        page.Press(Keys.Tab);
        var request = await StreamingTests.AskAsync(site, page, "Third question", "Third answer.");
        Assert.Equal(["user: First question", "assistant: First answer.", "user: Third question"],
            StreamingTests.MessagesOf(request));
        Assert.Equal(["First question", "Second question"], page.History);
        // Another visitor has none.
        using var other = browser.Open(site);
        Assert.Empty(other.History);
    }

    [Fact]
    public async Task Answer_goes_on_while_another_conversation_is_shown()
    {
        var site = await sites.GetAsync(Front.Demo);
        var answer = site.NextAnswer().Say("Once upon ");
        using var page = browser.Open(site);
        page.Ask("A long story, please");
        await Eventually.TrueAsync(() => page.Answers.Count == 1);

        page.Click("New chat");
        Assert.Equal(("", "", ""), (page.Status, page.Problem, page.Draft));
        Assert.Empty(page.Answers);
        Assert.True(page.Shows("Send"));
        Assert.Equal(["A long story, please (being written)"], page.History);
        answer.Say("a time.");
        await StreamingTests.AskAsync(site, page, "Something else", "Gladly.");
        Assert.Equal(["Gladly."], page.Answers);

        page.Click("History");
        page.Click("A long story, please (being written)");
        await Eventually.TrueAsync(() => page.Answers is ["Once upon a time."]);
        Assert.True(page.Shows("Stop"));
        answer.End();
        await page.EndsAsync();
        Assert.Equal(["A long story, please", "Something else"], page.History);
    }

    [Fact]
    public async Task Deleted_conversation_is_gone_and_its_answer_is_stopped()
    {
        var site = await sites.GetAsync(Front.Apache);
        using var page = browser.Open(site);
        await StreamingTests.AskAsync(site, page, "First", "Answer.");
        page.Click("New chat");
        var answer = site.NextAnswer().Say("Once ");
        page.Ask("Second");
        await Eventually.TrueAsync(() => page.Answers.Count == 1);
        var request = await answer.Asked;

        page.Click("History");
        page.Click("Delete: Second");
        page.Confirm();

        await request.Aborted.WaitAsync(TestClient.Patience);
        Assert.Equal(["First"], page.History);
        Assert.Empty(page.Answers);
        Assert.Equal("First", page.Focused);
        page.Press(Keys.Escape);
        Assert.Equal("History", page.Focused);
        page.Reload();
        await Eventually.TrueAsync(() => page.History is ["First"]);
    }

    [Fact]
    public async Task Browser_that_keeps_nothing_has_a_history_until_the_page_closes()
    {
        var site = await sites.GetAsync(Front.Demo);
        using var page = browser.Open(site);
        page.Run<object>("""
            Storage.prototype.setItem = () => { throw new DOMException("full", "QuotaExceededError"); };
            """);
        await StreamingTests.AskAsync(site, page, "First", "Answer.");
        page.Click("New chat");
        await StreamingTests.AskAsync(site, page, "Second", "Another.");
        Assert.Equal(["Second", "First"], page.History);

        page.Click("History");
        page.Click("First");

        await Eventually.TrueAsync(() => page.Answers is ["Answer."]);
        page.Reload();
        await Eventually.TrueAsync(() => page.History.Count == 0);
    }

    [Fact]
    public async Task Conversation_that_is_too_long_for_the_browser_costs_no_other_one()
    {
        var site = await sites.GetAsync(Front.Apache);
        using var page = browser.Open(site);
        await StreamingTests.AskAsync(site, page, "First", "Answer.");
        page.Click("New chat");
        var answer = site.NextAnswer().Say("Long.");
        answer.End();
        page.Run<object>("document.querySelector('textarea').value = 'x'.repeat(6000000)");
        page.Click("Send");
        await Eventually.TrueAsync(() => page.Answers is ["Long."] || page.Problem.Length > 0);
        await page.EndsAsync();

        page.Reload();

        await Eventually.TrueAsync(() => page.History is ["First"]);
    }

    [Fact]
    public async Task Wide_window_has_the_conversations_beside_each_other()
    {
        var site = await sites.GetAsync(Front.Demo);
        using var page = browser.Open(site);
        page.Resize(1200, 700);
        Assert.Equal(["Your message", "Send"], page.Controls());

        await StreamingTests.AskAsync(site, page, "A question", "An answer.");

        Assert.Equal(["New chat", "A question", "Delete: A question", "Your message", "Send"], page.Controls());
        var (link, box) = (page.Control("A question"), page.Control("Your message"));
        Assert.True(link.Location.X + link.Size.Width < box.Location.X);
    }
}
