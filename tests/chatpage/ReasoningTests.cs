using StreamingDaemon.Testing;

namespace StreamingDaemon.ChatPageTests;

/// <summary>What is not the answer's text: the model's reasoning, and why the answer ended.</summary>
public sealed class ReasoningTests(Browser browser, SharedSites sites)
{
    private const string Details = "document.querySelector('.message details')";

    public static TheoryData<Front> Both => SharedSites.Both;

    [Theory, MemberData(nameof(Both))]
    public async Task Reasoning_is_folded_away_above_the_answer_and_unfolds(Front front)
    {
        var site = await sites.GetAsync(front);
        var answer = site.NextAnswer().Think("They want ").Think("a number.");
        using var page = browser.Open(site);
        page.Ask("How many?");
        await Eventually.TrueAsync(() => page.Answers is ["ReasoningThey want a number."]);
        Assert.StartsWith("The model is thinking", page.Status, StringComparison.Ordinal);
        Assert.False(page.Run<bool>($"return {Details}.open"));

        answer.Say("Seven.").End();

        await page.EndsAsync();
        Assert.Equal(["ReasoningThey want a number.Seven."], page.Answers);
        Assert.Matches(@"^First word after \d+ ms, complete after \d+\.\d s$", page.Status);
        Assert.Equal("", page.Problem);
        var folded = page.Run<long>($"return {Details}.offsetHeight");
        page.Run<object>($"{Details}.querySelector('summary').click()");
        await Eventually.TrueAsync(() => page.Run<long>($"return {Details}.offsetHeight") > folded);
    }

    [Theory, MemberData(nameof(Both))]
    public async Task Reasoning_is_not_sent_back_with_the_next_question(Front front)
    {
        var site = await sites.GetAsync(front);
        using var page = browser.Open(site);
        site.NextAnswer().Think("Hm.").Say("Seven.").End();
        page.Ask("How many?");
        await page.EndsAsync();
        var next = site.NextAnswer();

        page.Ask("Sure?");

        var request = await next.Asked;
        Assert.Contains("Seven.", request.Body, StringComparison.Ordinal);
        Assert.DoesNotContain("Hm.", request.Body, StringComparison.Ordinal);
        next.Say("Yes.").End();
        await page.EndsAsync();
    }

    [Theory]
    [InlineData("length", "cut off at its limit of length")]
    [InlineData("content_filter", "cut off by the model's content filter")]
    public async Task Answer_that_was_cut_says_so_below_its_text_and_in_the_status(string reason, string said)
    {
        var site = await sites.GetAsync(Front.Demo);
        site.NextAnswer().Say("Once upon a").End(reason);
        using var page = browser.Open(site);
        page.Ask("A long story, please");

        await page.EndsAsync();
        Assert.Equal([$"Once upon aThe answer was {said}."], page.Answers);
        Assert.Matches($@"^First word after \d+ ms, {said} after \d+\.\d s$", page.Status);
        Assert.Equal("", page.Problem);
    }

    [Fact]
    public async Task Answer_that_was_cut_before_its_first_word_is_a_problem_and_the_question_comes_back()
    {
        var site = await sites.GetAsync(Front.Demo);
        site.NextAnswer().Think("Let me see.").End("length");
        using var page = browser.Open(site);
        page.Ask("A long story, please");

        await page.EndsAsync();
        Assert.Equal("The answer was cut off at its limit of length, before its first word. Try again.", page.Problem);
        Assert.Equal("A long story, please", page.Draft);
        Assert.Empty(page.Answers);
    }
}
