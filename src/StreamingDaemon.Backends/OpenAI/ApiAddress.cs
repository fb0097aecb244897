using System.Text;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>The API's addresses, from OPENAI_API_BASE. The base may already end with the endpoint, or with
/// another endpoint of the same API. Its query is sent with every request: Azure wants
/// <c>…/openai/deployments/NAME?api-version=…</c>.</summary>
internal static class ApiAddress
{
    private const string ChatCompletions = "/chat/completions";

    /// <summary>These are never part of a base: the base is what comes before them.</summary>
    private static readonly string[] s_endpoints =
    [
        ChatCompletions, "/completions", "/responses", "/embeddings", "/images/generations",
        "/audio/transcriptions", "/audio/speech", "/moderations",
    ];

    /// <summary>These may be part of a base (Azure's <c>https://NAME.services.ai.azure.com/models</c>),
    /// unless they follow a version.</summary>
    private static readonly string[] s_endpointsOfVersions = ["/models", "/chat", "/messages"];

    /// <summary>Where chat completions are asked for.</summary>
    public static Uri Completions(Uri apiBase)
    {
        // A base that is the endpoint stays as it was written: some servers need its upper case.
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

    /// <summary>The path as it was escaped, without slashes at its end, and with one slash for two. Two after
    /// a colon stay: some proxies take a whole URL in their path.</summary>
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

    /// <summary>Whether a path ends with a version (<c>/v1</c>, <c>/v1beta</c>), or with a version and
    /// <c>/openai</c>, as Gemini's <c>/v1beta/openai</c> does.</summary>
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
