using System.Text;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>The addresses below OPENAI_API_BASE. The base may name the endpoint itself, or another one of the
/// same API. Its query goes with every request: Azure wants
/// <c>…/openai/deployments/NAME?api-version=…</c>.</summary>
internal static class ApiAddress
{
    private const string ChatCompletions = "/chat/completions";

    /// <summary>No base ends with these: what stands before them is the base.</summary>
    private static readonly string[] s_endpoints =
    [
        ChatCompletions, "/completions", "/responses", "/embeddings", "/images/generations",
        "/audio/transcriptions", "/audio/speech", "/moderations",
    ];

    /// <summary>A base may end with these (Azure's <c>https://NAME.services.ai.azure.com/models</c>), but not
    /// after the version.</summary>
    private static readonly string[] s_endpointsOfVersions = ["/models", "/chat", "/messages"];

    /// <summary>Where chat completions are asked for.</summary>
    public static Uri Completions(Uri apiBase)
    {
        // As it was written, if it is one: some servers have the endpoint under other letters.
        var path = PathOf(apiBase);
        return At(apiBase, EndsWith(path, ChatCompletions) ? path : BaseOf(path) + ChatCompletions);
    }

    /// <summary>Where the models are listed.</summary>
    public static Uri Models(Uri apiBase) => At(apiBase, BaseOf(PathOf(apiBase)) + "/models");

    private static string BaseOf(string path)
    {
        foreach (var endpoint in s_endpoints)
        {
            if (EndsWith(path, endpoint))
                return path[..^endpoint.Length];
        }

        foreach (var endpoint in s_endpointsOfVersions)
        {
            if (EndsWith(path, endpoint) && EndsWithVersion(path.AsSpan()[..^endpoint.Length]))
                return path[..^endpoint.Length];
        }

        return path;
    }

    /// <summary>Still escaped as it was written; without slashes at the end, and without those that were
    /// written twice, except behind a colon: some proxies take a whole address as their path.</summary>
    private static string PathOf(Uri apiBase)
    {
        var path = apiBase.AbsolutePath.TrimEnd('/');
        if (!path.Contains("//", StringComparison.Ordinal))
            return path;
        var single = new StringBuilder(path.Length);
        foreach (var c in path)
        {
            var isAgain = c == '/' && single.Length > 0 && single[^1] == '/';
            if (!isAgain || (single.Length > 1 && single[^2] == ':'))
                single.Append(c);
        }

        return single.ToString();
    }

    private static bool EndsWith(string path, string endpoint) =>
        path.EndsWith(endpoint, StringComparison.OrdinalIgnoreCase);

    /// <summary>Whether it ends with a version (<c>/v1</c>, <c>/v1beta</c>), or with the name of this API
    /// behind one (Gemini's <c>/v1beta/openai</c>).</summary>
    private static bool EndsWithVersion(ReadOnlySpan<char> path)
    {
        if (path.EndsWith("/openai", StringComparison.OrdinalIgnoreCase))
            path = path[..^"/openai".Length];
        var last = path[(path.LastIndexOf('/') + 1)..];
        return last is ['v' or 'V', >= '0' and <= '9', ..];
    }

    private static Uri At(Uri apiBase, string path) =>
        new(apiBase.GetLeftPart(UriPartial.Authority) + path + apiBase.Query);
}
