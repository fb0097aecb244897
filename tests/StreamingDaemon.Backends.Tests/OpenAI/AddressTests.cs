using StreamingDaemon.Backends.OpenAI;
using Xunit;

namespace StreamingDaemon.Backends.Tests.OpenAI;

public sealed class AddressTests
{
    [Theory]
    [InlineData("https://h/v1", "https://h/v1/chat/completions", "https://h/v1/models")]
    [InlineData("https://h/v1/", "https://h/v1/chat/completions", "https://h/v1/models")]
    [InlineData("https://h:8443/v1/chat/completions", "https://h:8443/v1/chat/completions", "https://h:8443/v1/models")]
    [InlineData("https://h/v1/chat/completions/", "https://h/v1/chat/completions", "https://h/v1/models")]
    [InlineData("https://h/V1/Chat/Completions", "https://h/V1/Chat/Completions", "https://h/V1/models")]
    [InlineData("http://h", "http://h/chat/completions", "http://h/models")]
    [InlineData("https://h/openai/deployments/x?api-version=1&a=b%20c",
        "https://h/openai/deployments/x/chat/completions?api-version=1&a=b%20c",
        "https://h/openai/deployments/x/models?api-version=1&a=b%20c")]
    [InlineData("https://h/d/x/chat/completions?api-version=1", "https://h/d/x/chat/completions?api-version=1",
        "https://h/d/x/models?api-version=1")]
    [InlineData("https://h/a%2Fb%20c", "https://h/a%2Fb%20c/chat/completions", "https://h/a%2Fb%20c/models")]
    // Another endpoint of the same API.
    [InlineData("https://h/v1/completions", "https://h/v1/chat/completions", "https://h/v1/models")]
    [InlineData("https://h/v1/responses/", "https://h/v1/chat/completions", "https://h/v1/models")]
    [InlineData("https://h/v1/embeddings", "https://h/v1/chat/completions", "https://h/v1/models")]
    [InlineData("https://h/api/V1/Models//", "https://h/api/V1/chat/completions", "https://h/api/V1/models")]
    [InlineData("https://h/v1/chat", "https://h/v1/chat/completions", "https://h/v1/models")]
    [InlineData("https://h/v1/messages", "https://h/v1/chat/completions", "https://h/v1/models")]
    [InlineData("https://h/v1beta/openai/models", "https://h/v1beta/openai/chat/completions",
        "https://h/v1beta/openai/models")]
    [InlineData("https://h/openai/deployments/x/embeddings?api-version=1",
        "https://h/openai/deployments/x/chat/completions?api-version=1",
        "https://h/openai/deployments/x/models?api-version=1")]
    // Azure AI's base ends with /models.
    [InlineData("https://h.services.ai.azure.com/models?api-version=1",
        "https://h.services.ai.azure.com/models/chat/completions?api-version=1",
        "https://h.services.ai.azure.com/models/models?api-version=1")]
    [InlineData("http://h/api/chat", "http://h/api/chat/chat/completions", "http://h/api/chat/models")]
    // Slashes.
    [InlineData("https://h//v1//", "https://h/v1/chat/completions", "https://h/v1/models")]
    [InlineData("https://h//", "https://h/chat/completions", "https://h/models")]
    [InlineData("https://h/v1//chat//completions", "https://h/v1/chat/completions", "https://h/v1/models")]
    [InlineData("https://h/proxy/https://api.openai.com/v1", "https://h/proxy/https://api.openai.com/v1/chat/completions",
        "https://h/proxy/https://api.openai.com/v1/models")]
    [InlineData("HTTPS://H:443/v1", "https://h/v1/chat/completions", "https://h/v1/models")]
    public void Address_has_the_endpoint_once_and_keeps_its_query(string apiBase, string completions, string models)
    {
        Assert.Equal(completions, ApiAddress.Completions(new Uri(apiBase)).AbsoluteUri);
        Assert.Equal(models, ApiAddress.Models(new Uri(apiBase)).AbsoluteUri);
    }

    [Fact]
    public async Task Request_to_a_deployment_of_Azure_has_its_path_its_query_and_the_key_in_api_key()
    {
        await using var upstream = await BackendUnderTest.StartAsync(configure: options => options with
        {
            ApiBase = new Uri(options.ApiBase, "/openai/deployments/x?api-version=2024-10-21"),
            Auth = "api-key",
        });

        Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);

        var seen = Assert.Single(upstream.Server.Requests);
        Assert.Equal(("/openai/deployments/x/chat/completions", "?api-version=2024-10-21"), (seen.Path, seen.Query));
        Assert.Equal(BackendUnderTest.ApiKey, seen.Headers["api-key"]);
        Assert.DoesNotContain("Authorization", seen.Headers.Keys);
    }
}
