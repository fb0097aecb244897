using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>What the client reads if the application forgot the handoff's data.</summary>
public sealed class EmptyHandoffTests
{
    [Theory]
    [InlineData("\0", "The handoff is empty: the application set no X-Handoff-Data.")]
    [InlineData(" \n", "The handoff is empty: the application set no X-Handoff-Data.")]
    [InlineData("{}", "The handoff data has no prompt and no messages.")]
    [InlineData("""{"messages":[{"role":"user","content":true}],"tools":5}""",
        "The handoff data has no usable prompt. Unusable: messages[0].")]
    [InlineData("""{"messages":false,"prompt":["a",{"type":"image_url"}],"model":{}}""",
        "The handoff data has no usable prompt. Unusable: messages, prompt.")]
    [InlineData("false", "The handoff data is not a JSON object.")]
    public async Task Empty_handoff_is_a_400_that_names_it(string data, string message)
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        await using var daemon = await upstream.StartDaemonAsync();
        using var client = TestClient.HandOver(daemon.SocketPath, data);

        var answer = Answer.Parse(await TestClient.ReadToEndAsync(client));

        Assert.Equal("HTTP/1.1 400 Bad Request", answer.StatusLine);
        Assert.Contains(message, answer.Body, StringComparison.Ordinal);
    }
}
