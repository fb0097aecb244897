using StreamingDaemon.Testing;

namespace StreamingDaemon.ChatPageTests;

/// <summary>What docs/php.md tells of browsers: EventSource, six connections, other origins.</summary>
public sealed class BrowserHabitsTests(Browser browser, SharedSites sites)
{
    [Fact]
    public async Task EventSource_asks_the_model_again_unless_the_page_closes_it()
    {
        var site = await sites.GetAsync(Front.Apache);
        site.Upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("short");
            await exchange.SendDoneAsync();
        };
        using var page = browser.OpenTab(new Uri(new Uri(site.Url), "/plain.txt").ToString());
        var asked = site.Upstream.Requests.Count;
        _ = page.Run<object>("window.left = new EventSource('/habits.php')");
        await Eventually.TrueAsync(() => site.Upstream.Requests.Count >= asked + 2, TestClient.Patience * 2);
        _ = page.Run<object>("left.close()");

        asked = site.Upstream.Requests.Count;
        // As the page has it.
        _ = page.Run<object>("""
            window.source = new EventSource("/habits.php");
            window.heard = [];
            source.onmessage = e => e.data === "[DONE]" ? source.close() : heard.push(JSON.parse(e.data).content);
            source.onerror = () => source.close();
            """);
        await Eventually.TrueAsync(() => page.Run<long>("return source.readyState") == 2);

        Assert.Equal("short", page.Run<string>("return heard.join()"));
        Assert.Equal(asked + 1, site.Upstream.Requests.Count);
    }

    [Fact]
    public async Task Six_streams_take_all_connections_of_a_browser()
    {
        var site = await sites.GetAsync(Front.Apache);
        using var ends = new SemaphoreSlim(0);
        site.Upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("first");
            await ends.WaitAsync(exchange.Context.RequestAborted);
            await exchange.SendDoneAsync();
        };
        using var page = browser.OpenTab(new Uri(new Uri(site.Url), "/plain.txt").ToString());
        _ = page.Run<object>("""
            window.begun = 0;
            window.happened = [];
            window.stream = async () => {
              const reader = (await fetch("/habits.php", { method: "POST", cache: "no-store" })).body.getReader();
              await reader.read();
              begun++;
              while (!(await reader.read()).done);
              happened.push("ended");
            };
            window.load = name => fetch("/plain.txt?" + name, { cache: "no-store" }).then(() => happened.push(name));
            for (let i = 0; i < 5; i++) stream();
            """);
        await Eventually.TrueAsync(() => page.Run<long>("return begun") == 5);
        // The control: the sixth connection is free.
        _ = page.Run<object>("load('beside five')");
        await Eventually.TrueAsync(() => Happened(page) == "beside five");
        _ = page.Run<object>("stream()");
        await Eventually.TrueAsync(() => page.Run<long>("return begun") == 6);

        _ = page.Run<object>("load('beside six')");
        // The order tells: it has to wait for an end.
        Assert.Equal("beside five", Happened(page));
        ends.Release();
        await Eventually.TrueAsync(() => Happened(page) == "beside five,ended,beside six");
        ends.Release(5);
        await Eventually.TrueAsync(() => Happened(page).Split("ended").Length == 7);
    }

    [Fact]
    public async Task Stream_to_another_origin_is_read_if_php_allows_it()
    {
        var site = await sites.GetAsync(Front.Apache);
        var answer = site.NextAnswer().Say("across");
        answer.End();
        using var page = browser.OpenTab(new Uri(new Uri(site.Url), "/plain.txt").ToString());
        var other = new UriBuilder(site.Url) { Host = "localhost", Path = "/habits.php" }.Uri.ToString();
        _ = page.Run<object>($$"""
            window.read = {};
            const ask = address => fetch(address, {
              method: "POST", headers: { "Content-Type": "application/json" }, body: "{}",
            }).then(response => response.text(), error => error.name);
            ask("{{other}}?case=preflight").then(text => read.allowed = text)
              .then(() => ask("{{other}}")).then(text => read.refused = text);
            """);
        await Eventually.TrueAsync(() => page.Run<bool>("return 'refused' in read"));

        var allowed = page.Run<string>("return read.allowed");
        Assert.Contains("across", allowed, StringComparison.Ordinal);
        Assert.EndsWith("data: [DONE]\n\n", allowed, StringComparison.Ordinal);
        Assert.Equal("TypeError", page.Run<string>("return read.refused"));
    }

    private static string Happened(ChatPage page) => page.Run<string>("return happened.join()");
}
