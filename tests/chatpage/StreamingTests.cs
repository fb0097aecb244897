using System.Net;
using System.Text.Json;
using OpenQA.Selenium;
using StreamingDaemon.Testing;

namespace StreamingDaemon.ChatPageTests;

/// <summary>A question, and the answer as it comes; through httpd with the module, and through the
/// demonstration.</summary>
public sealed class StreamingTests(Browser browser, SharedSites sites)
{
    public static TheoryData<Front> Both => SharedSites.Both;

    public static TheoryData<Front> All => SharedSites.All;

    [Theory, MemberData(nameof(All))]
    public async Task Words_appear_as_they_come_with_the_time_to_the_first(Front front)
    {
        var site = await sites.GetAsync(front);
        var answer = site.NextAnswer();
        using var page = browser.Open(site);
        page.Ask("What is streaming?");
        Assert.Equal(["What is streaming?"], page.Questions);
        await answer.Asked;
        Assert.StartsWith("Waiting", page.Status, StringComparison.Ordinal);

        answer.Say("One ");
        await Eventually.TrueAsync(() => page.Answers is ["One "]);
        // The model says no more until the page has shown this.
        await Eventually.TrueAsync(() => page.Status.StartsWith("First word after", StringComparison.Ordinal));
        Assert.Matches(@"^First word after \d+ ms$", page.Status);
        answer.Say("at a time.");
        await Eventually.TrueAsync(() => page.Answers is ["One at a time."]);
        Assert.True(page.Shows("Stop"));
        answer.End();

        await page.EndsAsync();
        Assert.Matches(@"^First word after \d+ ms, complete after \d+\.\d s$", page.Status);
        Assert.Equal("", page.Problem);
        Assert.Equal("", page.Draft);
    }

    [Theory, MemberData(nameof(All))]
    public async Task Stop_button_cancels_the_call_to_the_model(Front front)
    {
        var site = await sites.GetAsync(front);
        var stopped = await site.AnswersAsync("stopped");
        var answer = site.NextAnswer().Say("Once upon ");
        using var page = browser.Open(site);
        page.Ask("A long story, please");
        await Eventually.TrueAsync(() => page.Answers is ["Once upon "]);
        var request = await answer.Asked;
        Assert.False(request.Aborted.IsCompleted);

        page.Click("Stop");

        await request.Aborted.WaitAsync(TestClient.Patience);
        await page.EndsAsync();
        Assert.Equal("Stopped.", page.Status);
        Assert.Equal(["Once upon "], page.Answers);
        await Eventually.TrueAsync(() => site.AnswersAsync("stopped").Result == stopped + 1);
    }

    [Theory, MemberData(nameof(All))]
    public async Task Question_that_is_stopped_before_the_first_word_goes_back_to_the_box(Front front)
    {
        var site = await sites.GetAsync(front);
        var answer = site.NextAnswer();
        using var page = browser.Open(site);
        page.Ask("Never mind");
        var request = await answer.Asked;

        page.Click("Stop");

        await request.Aborted.WaitAsync(TestClient.Patience);
        await Eventually.TrueAsync(() => page.Draft == "Never mind");
        Assert.Empty(page.Questions);
        Assert.Empty(page.Answers);
    }

    [Theory, MemberData(nameof(Both))]
    public async Task Conversation_goes_along_with_the_next_question_until_a_new_chat(Front front)
    {
        var site = await sites.GetAsync(front);
        using var page = browser.Open(site);
        await AskAsync(site, page, "My name is Zoë", "Hello Zoë 👋");

        var second = await AskAsync(site, page, "What is my name?", "Zoë.");
        Assert.Equal(["user: My name is Zoë", "assistant: Hello Zoë 👋", "user: What is my name?"], MessagesOf(second));

        page.Click("New chat");
        Assert.Empty(page.Questions);
        Assert.False(page.Shows("New chat"));
        var third = await AskAsync(site, page, "And now?", "I do not know.");
        Assert.Equal(["user: And now?"], MessagesOf(third));
    }

    [Fact]
    public async Task Markup_in_an_answer_is_text()
    {
        var site = await sites.GetAsync(Front.Demo);
        using var page = browser.Open(site);
        const string markup = "<img src=x onerror=document.title='run'><b>bold</b>";

        await AskAsync(site, page, "Be bad", markup);

        Assert.Equal([markup], page.Answers);
        Assert.Equal("Chat", page.Run<string>("return document.title"));
    }

    [Theory, MemberData(nameof(Both))]
    public async Task Page_asks_its_own_site_and_nobody_else(Front front)
    {
        var site = await sites.GetAsync(front);
        using var page = browser.Open(site);
        await AskAsync(site, page, "Hello", "Hello.");

        var requests = page.Requests();

        Assert.Equal([site.Url, site.Url + "stream.php"], requests);
        // Not even where somebody gets an element into it.
        var refused = (string)page.RunToEnd("""
            const done = arguments[arguments.length - 1];
            document.addEventListener("securitypolicyviolation", event => done(event.effectiveDirective));
            const image = new Image();
            image.src = "http://127.0.0.1:1/x.png";
            document.body.append(image);
            """)!;
        Assert.Equal("img-src", refused);
    }

    [Theory, MemberData(nameof(Both))]
    public async Task Form_is_taken_as_well_as_the_json_of_the_page(Front front)
    {
        var site = await sites.GetAsync(front);
        var answer = site.NextAnswer().Say("Yes.");
        answer.End();
        using var http = new HttpClient { Timeout = TestClient.Patience };
        using var form = new FormUrlEncodedContent([new("prompt", "50 % & more = ü?"), new("other", "1")]);

        using var response = await http.PostAsync(new Uri(site.Url + "stream.php"), form);

        Assert.Equal("text/event-stream", response.Content.Headers.ContentType!.MediaType);
        Assert.Contains("Yes.", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.Equal(["user: 50 % & more = ü?"], MessagesOf(await answer.Asked));
        using var other = new FormUrlEncodedContent([new("other", "1")]);
        using var refused = await http.PostAsync(new Uri(site.Url + "stream.php"), other);
        Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
    }

    internal static async Task<FakeLlmRequest> AskAsync(ChatSite site, ChatPage page, string question,
        params string[] words)
    {
        var answer = site.NextAnswer().Say(words);
        answer.End();
        var before = page.Answers.Count;
        page.Ask(question);
        await Eventually.TrueAsync(() => page.Answers.Count == before + 1 && page.Answers[^1] == string.Concat(words));
        await page.EndsAsync();
        return await answer.Asked;
    }

    internal static string[] MessagesOf(FakeLlmRequest request) =>
        [.. JsonDocument.Parse(request.Body).RootElement.GetProperty("messages").EnumerateArray()
            .Select(m => $"{m.GetProperty("role").GetString()}: {m.GetProperty("content").GetString()}")];
}
