using OpenQA.Selenium;
using StreamingDaemon.Testing;

namespace StreamingDaemon.ChatPageTests;

/// <summary>The answer outlives its reader: reload, another tab, a broken network, and Stop for all.</summary>
public sealed class KeptAnswerTests(Browser browser, SharedSites sites)
{
    public static TheoryData<Front> Both => SharedSites.Both;

    public static TheoryData<Front> All => SharedSites.All;

    [Theory, MemberData(nameof(All))]
    public async Task Answer_goes_on_after_a_reload_and_the_model_is_asked_once(Front front)
    {
        var site = await sites.GetAsync(front);
        var asked = site.Upstream.Requests.Count;
        var answer = site.NextAnswer().Say("One ");
        using var page = browser.Open(site);
        page.Ask("How does it go on?");
        await Eventually.TrueAsync(() => page.Answers is ["One "]);

        page.Reload();

        await Eventually.TrueAsync(() => page.Answers is ["One "] && page.Shows("Stop"));
        Assert.Equal(["How does it go on?"], page.Questions);
        answer.Say("after the ", "other.").End();
        await page.EndsAsync();
        Assert.Equal(["One after the other."], page.Answers);
        Assert.Equal(("The answer is complete.", ""), (page.Status, page.Problem));
        page.Reload();
        await Eventually.TrueAsync(() => page.Answers is ["One after the other."]);
        Assert.Equal(asked + 1, site.Upstream.Requests.Count);
    }

    [Theory, MemberData(nameof(Both))]
    public async Task Reload_before_the_first_word_does_not_ask_again(Front front)
    {
        var site = await sites.GetAsync(front);
        var asked = site.Upstream.Requests.Count;
        var answer = site.NextAnswer();
        using var page = browser.Open(site);
        page.Ask("Well?");
        await answer.Asked;

        page.Reload();

        await Eventually.TrueAsync(() => page.Shows("Stop"));
        answer.Say("Yes.").End();
        await Eventually.TrueAsync(() => page.Answers is ["Yes."]);
        await page.EndsAsync();
        Assert.Equal(asked + 1, site.Upstream.Requests.Count);
    }

    [Theory, MemberData(nameof(Both))]
    public async Task Second_tab_reads_along_and_its_stop_stops_the_answer_for_both(Front front)
    {
        var site = await sites.GetAsync(front);
        var (stopped, asked) = (await site.AnswersAsync("stopped"), site.Upstream.Requests.Count);
        var answer = site.NextAnswer().Say("Once ");
        using var first = browser.Open(site);
        first.Ask("A long story, please");
        await Eventually.TrueAsync(() => first.Answers is ["Once "]);

        using var second = browser.OpenTab(site.Url);

        await Eventually.TrueAsync(() => second.Answers is ["Once "]);
        answer.Say("upon ");
        await Eventually.TrueAsync(() => first.Answers is ["Once upon "] && second.Answers is ["Once upon "]);
        Assert.Equal(asked + 1, site.Upstream.Requests.Count);
        second.Click("Stop");
        await (await answer.Asked).Aborted.WaitAsync(TestClient.Patience);
        await first.EndsAsync();
        await second.EndsAsync();
        Assert.Equal(["Once upon "], first.Answers);
        Assert.Equal("", first.Problem);
        Assert.Equal(["Once upon "], second.Answers);
        Assert.Equal("Stopped.", second.Status);
        await Eventually.TrueAsync(() => site.AnswersAsync("stopped").Result == stopped + 1);
    }

    [Fact]
    public async Task Question_in_one_tab_is_answered_in_the_other_that_shows_the_conversation()
    {
        var site = await sites.GetAsync(Front.Apache);
        using var first = browser.Open(site);
        await StreamingTests.AskAsync(site, first, "One?", "One.");
        using var second = browser.OpenTab(first.Address);
        await Eventually.TrueAsync(() => second.Answers is ["One."]);

        var answer = site.NextAnswer().Say("Two");
        first.Ask("Two?");

        await Eventually.TrueAsync(() => second.Questions is ["One?", "Two?"] && second.Answers is ["One.", "Two"]);
        answer.Say(".").End();
        await first.EndsAsync();
        await second.EndsAsync();
        Assert.Equal(["One.", "Two."], first.Answers);
        Assert.Equal(["One.", "Two."], second.Answers);
    }

    [Theory, MemberData(nameof(Both))]
    public async Task Cut_network_is_survived_without_a_gap_or_a_repeat(Front front)
    {
        var site = await sites.GetAsync(front);
        var asked = site.Upstream.Requests.Count;
        await using var network = new CuttingRelay(site.Url);
        var answer = site.NextAnswer().Say("One, ");
        using var page = browser.OpenTab(network.Url);
        page.Ask("Count");
        await Eventually.TrueAsync(() => page.Answers is ["One, "]);

        network.Cut();
        await Eventually.TrueAsync(() => page.Status == "The connection broke. Trying again …");
        answer.Say("two, ");
        network.Restore();
        await Eventually.TrueAsync(() => page.Answers is ["One, two, "]);
        network.Cut();
        answer.Say("three.").End();
        await Eventually.TrueAsync(() => page.Status == "The connection broke. Trying again …");
        network.Restore();

        await page.EndsAsync();
        Assert.Equal(["One, two, three."], page.Answers);
        Assert.Matches(@"^First word after \d+ ms, complete after \d+\.\d s$", page.Status);
        Assert.Equal(asked + 1, site.Upstream.Requests.Count);
    }

    [Fact]
    public async Task Connection_that_hangs_is_given_up_and_a_silent_one_that_lives_is_not()
    {
        await using var site = await ChatSite.StartAsync(Front.Demo, new Dictionary<string, string>
        {
            ["STREAMING_DAEMON_STREAMING__KEEPALIVE_S"] = "1",
        });
        await using var network = new CuttingRelay(site.Url);
        var answer = site.NextAnswer().Say("One, ");
        using var page = browser.OpenTab(network.Url);
        // Its 45 seconds are four here.
        page.Run<object>("""
            const set = window.setTimeout;
            window.setTimeout = (how, ms) => set(how, ms === 45000 ? 4000 : ms);
            """);
        var asked = site.Upstream.Requests.Count;
        page.Ask("Count");
        await Eventually.TrueAsync(() => page.Answers is ["One, "]);

        // Nothing but comments, for longer than that.
        var before = network.Pieces;
        await Eventually.TrueAsync(() => network.Pieces >= before + 7, TestClient.Patience);
        Assert.Equal(0, await site.AnswersAsync("resumed"));
        network.Hang();
        answer.Say("two.").End();

        await page.EndsAsync();
        Assert.Equal(["One, two."], page.Answers);
        Assert.True(await site.AnswersAsync("resumed") >= 1);
        Assert.Equal(asked + 1, site.Upstream.Requests.Count);
    }

    [Fact]
    public async Task Network_that_is_cut_before_the_first_word_does_not_ask_again()
    {
        var site = await sites.GetAsync(Front.Apache);
        var asked = site.Upstream.Requests.Count;
        await using var network = new CuttingRelay(site.Url);
        var answer = site.NextAnswer();
        using var page = browser.OpenTab(network.Url);
        page.Ask("Well?");
        await answer.Asked;

        network.Cut();
        await Eventually.TrueAsync(() => page.Status == "The connection broke. Trying again …");
        network.Restore();
        answer.Say("Yes.").End();

        await Eventually.TrueAsync(() => page.Answers is ["Yes."]);
        await page.EndsAsync();
        Assert.Equal(asked + 1, site.Upstream.Requests.Count);
    }

    [Theory, MemberData(nameof(Both))]
    public async Task Answer_that_is_no_longer_kept_leaves_what_was_read_and_says_so(Front front)
    {
        var site = await sites.GetAsync(front);
        var answer = site.NextAnswer().Say("Half an ");
        using var page = browser.Open(site);
        page.Ask("Tell me all");
        await Eventually.TrueAsync(() => page.Answers is ["Half an "]);
        // What the daemon has forgotten: no answer of this name is there.
        page.Run<object>("""
            addEventListener("pagehide", () => {
              const key = Object.keys(localStorage)[0], stored = JSON.parse(localStorage[key]);
              localStorage[key] = JSON.stringify({ ...stored, answer: { ...stored.answer, id: "gone" } });
            });
            """);

        page.Reload();

        await Eventually.TrueAsync(() => page.Problem == "The rest of the answer is no longer there. Ask again.");
        Assert.Equal(["Half an "], page.Answers);
        Assert.True(page.Shows("Send"));
        answer.End();
    }

    [Fact]
    public async Task Closed_tab_leaves_the_answer_to_go_on_for_as_long_as_orphans_may()
    {
        await using var site = await ChatSite.StartAsync(Front.Demo, new Dictionary<string, string>
        {
            ["STREAMING_DAEMON_ANSWERS__ORPHAN_S"] = "1",
        });
        var answer = site.NextAnswer().Say("Once upon ");
        FakeLlmRequest request;
        using (var page = browser.Open(site))
        {
            page.Ask("A long story, please");
            await Eventually.TrueAsync(() => page.Answers is ["Once upon "]);
            request = await answer.Asked;
            Assert.False(request.Aborted.IsCompleted);
        }

        await request.Aborted.WaitAsync(TestClient.Patience);
        Assert.Equal(1, await site.AnswersAsync("orphaned"));
    }

    [Fact]
    public async Task EventSource_reconnects_by_itself_and_asks_no_more_after_the_end()
    {
        var site = await sites.GetAsync(Front.Apache);
        var asked = site.Upstream.Requests.Count;
        await using var network = new CuttingRelay(site.Url);
        var answer = site.NextAnswer().Say("One, ");
        // A page without any script of ours.
        using var page = browser.OpenTab(new Uri(new Uri(network.Url), "/plain.txt").ToString());
        page.RunToEnd("""
            const done = arguments[arguments.length - 1], id = "es-" + Math.random().toString(36).slice(2);
            window.heard = [];
            fetch("/chat/stream.php", {
              method: "POST",
              headers: { "Content-Type": "application/json" },
              body: JSON.stringify({ prompt: "Count", keep: true, request_id: id }),
            }).then(response => response.body.cancel()).then(() => {
              window.source = new EventSource("/chat/stream.php?resume=" + id);
              source.onmessage = event => heard.push(event.data);
              done();
            });
            """);
        await Eventually.TrueAsync(() => Heard(page) == """{"content":"One, "}""");

        network.Cut();
        await Eventually.TrueAsync(() => page.Run<long>("return source.readyState") == 0);
        answer.Say("two.").End();
        network.Restore();

        // Closed by itself: at the 204, because all was read.
        await Eventually.TrueAsync(() => page.Run<long>("return source.readyState") == 2, TestClient.Patience * 2);
        Assert.Equal("""{"content":"One, "} {"content":"two."} [DONE]""", Heard(page));
        Assert.Equal(asked + 1, site.Upstream.Requests.Count);
    }

    private static string Heard(ChatPage page) => page.Run<string>("return heard.join(' ')");
}
