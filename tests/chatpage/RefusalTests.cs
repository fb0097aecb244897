using StreamingDaemon.Testing;

namespace StreamingDaemon.ChatPageTests;

/// <summary>What the reader is told where there is no answer, or only a part of one.</summary>
public sealed class RefusalTests(Browser browser, SharedSites sites)
{
    public static TheoryData<Front> Both => SharedSites.Both;

    [Theory, MemberData(nameof(Both))]
    public async Task Model_that_refuses_is_explained_and_the_question_can_be_asked_again(Front front)
    {
        var site = await sites.GetAsync(front);
        site.Upstream.Scenario = exchange => exchange.RespondAsync(500, "application/json", "{}");
        using var page = browser.Open(site);
        page.Ask("Are you there?");

        await IsTheEndAsync(page, "The language model cannot be reached. Try again later.");

        site.NextAnswer().Say("Yes.").End();
        page.Click("Send");
        await Eventually.TrueAsync(() => page.Answers is ["Yes."]);
        Assert.Equal("", page.Problem);
        Assert.Equal(["Are you there?"], page.Questions);
    }

    [Theory]
    [InlineData(Front.Apache, "42", "42 seconds")]
    [InlineData(Front.Demo, "180", "3 minutes")]
    [InlineData(Front.Demo, "1", "a moment")]
    public async Task Busy_service_says_when_to_come_again(Front front, string retryAfter, string when)
    {
        var site = await sites.GetAsync(front);
        site.Upstream.Scenario = exchange =>
        {
            exchange.Context.Response.Headers.RetryAfter = retryAfter;
            return exchange.RespondAsync(429, "application/json", "{}");
        };
        using var page = browser.Open(site);
        page.Ask("Are you there?");

        await IsTheEndAsync(page, $"The chat service is busy or restarting. Try again in {when}.");
    }

    [Fact]
    public async Task Daemon_that_is_not_there_is_a_busy_service_too()
    {
        await using var site = await ChatSite.StartAsync(Front.Apache);
        using var page = browser.Open(site);
        await site.StopDaemonAsync();
        page.Ask("Are you there?");

        await IsTheEndAsync(page, "The chat service is busy or restarting. Try again in a moment.");
    }

    [Fact]
    public async Task Second_answer_at_once_is_too_many_where_one_is_allowed()
    {
        await using var site = await ChatSite.StartAsync(Front.Apache, new Dictionary<string, string>
        {
            ["STREAMING_DAEMON_RATE_LIMIT__CONCURRENT_STREAMS"] = "1",
        });
        site.NextAnswer().Say("Once upon ");
        using var first = browser.Open(site);
        first.Ask("A long story, please");
        await Eventually.TrueAsync(() => first.Answers is ["Once upon "]);

        using var second = browser.Open(site);
        second.Ask("Another, please");

        await IsTheEndAsync(second, "Another answer is still being written. Try again in a moment.", "Another, please");
        Assert.True(first.Shows("Stop"));
    }

    [Fact]
    public async Task Message_that_is_too_long_is_explained()
    {
        var site = await sites.GetAsync(Front.Apache);
        using var page = browser.Open(site);
        page.Run<object>("document.querySelector('textarea').value = 'x'.repeat(9000000)");
        page.Click("Send");

        await Eventually.TrueAsync(() => page.Problem.Length > 0);
        Assert.Equal("The message is too long. Shorten it, or start a new chat.", page.Problem);
    }

    [Theory, MemberData(nameof(Both))]
    public async Task Answer_that_breaks_off_stays_with_a_word_about_it(Front front)
    {
        var site = await sites.GetAsync(front);
        var answer = site.NextAnswer().Say("Half an ");
        using var page = browser.Open(site);
        page.Ask("Tell me all");
        await Eventually.TrueAsync(() => page.Answers is ["Half an "]);

        answer.Break();

        await Eventually.TrueAsync(() => page.Problem.Length > 0);
        Assert.Matches(@"^The answer broke off: .+ \(request [^ ]+\)$", page.Problem);
        Assert.Equal(["Half an "], page.Answers);
        Assert.Equal(["Tell me all"], page.Questions);
        Assert.True(page.Shows("Send"));
    }

    /// <summary>The problem in words, nothing else, and the question in the box again.</summary>
    private static async Task IsTheEndAsync(ChatPage page, string problem, string question = "Are you there?")
    {
        await Eventually.TrueAsync(() => page.Problem.Length > 0);
        Assert.Equal((problem, ""), (page.Problem, page.Status));
        Assert.Equal(question, page.Draft);
        Assert.Empty(page.Questions);
        Assert.Empty(page.Answers);
        Assert.True(page.Shows("Send"));
        Assert.False(page.Shows("Stop"));
    }
}
