using Microsoft.Extensions.DependencyInjection;
using StreamingDaemon.Backends.Mock;
using StreamingDaemon.Backends.OpenAI;

namespace StreamingDaemon.Backends.Tests;

public sealed class BackendRegistryTests
{
    [Theory]
    [InlineData("openai", "openai")]
    [InlineData("OpenAI", "openai")]
    [InlineData("mock", "mock")]
    [InlineData("langgraph", "mock")]
    [InlineData("", "mock")]
    [InlineData(null, "mock")]
    public void Unknown_name_resolves_to_the_default(string? name, string expected)
    {
        using var services = BuildServices();
        var registry = new BackendRegistry(services.GetServices<IStreamingBackend>(), "mock");
        Assert.Equal(expected, registry.Resolve(name).Name);
        Assert.Equal("mock", registry.Default.Name);
    }

    [Fact]
    public void Unknown_default_fails_and_names_the_known_ones()
    {
        using var services = BuildServices();
        var thrown = Assert.Throws<ArgumentException>(
            () => new BackendRegistry(services.GetServices<IStreamingBackend>(), "gemini"));
        Assert.Contains("'gemini'", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("mock, openai", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Two_backends_of_one_name_fail()
    {
        using var first = new MockBackend(new MockOptions());
        using var second = new MockBackend(new MockOptions());
        var thrown = Assert.Throws<ArgumentException>(() => new BackendRegistry([first, second], "mock"));
        Assert.Contains("'mock'", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Backends_say_what_they_are()
    {
        using var services = BuildServices();
        var registry = new BackendRegistry(services.GetServices<IStreamingBackend>(), "mock");
        Assert.Equal(("", false), (registry.Default.DefaultModel, registry.Default.RequiresPrompt));
        var openAI = registry.Resolve("openai");
        Assert.Equal(("m1", true), (openAI.DefaultModel, openAI.RequiresPrompt));
        Assert.True(registry.TryGet("openai", out var found));
        Assert.Same(openAI, found);
        Assert.False(registry.TryGet("langgraph", out _));
    }

    [Fact]
    public void Blank_key_fails_when_the_backend_is_made()
    {
        var services = new ServiceCollection().AddBackend(
            new OpenAIDescriptor(), new OpenAIOptions { ApiKey = " " }, new BackendContext());
        using var provider = services.BuildServiceProvider();
        Assert.Throws<ArgumentException>(() => provider.GetServices<IStreamingBackend>().ToArray());
    }

    private static ServiceProvider BuildServices() => new ServiceCollection()
        .AddBackend(new MockDescriptor(), new MockOptions(), new BackendContext())
        .AddBackend(new OpenAIDescriptor(), new OpenAIOptions { ApiKey = "k", Model = "m1" }, new BackendContext())
        .BuildServiceProvider();
}
