namespace StreamingDaemon.Backends.OpenAI;

/// <summary>The addresses below OPENAI_API_BASE. The base may name the endpoint itself, and its query goes
/// with every request: Azure wants <c>…/openai/deployments/NAME?api-version=…</c>.</summary>
internal static class ApiAddress
{
    private const string Endpoint = "/chat/completions";

    /// <summary>Where chat completions are asked for.</summary>
    public static Uri Completions(Uri apiBase) => At(apiBase, PathOf(apiBase) is var path && HasEndpoint(path)
        ? path : path + Endpoint);

    /// <summary>Where the models are listed.</summary>
    public static Uri Models(Uri apiBase) => At(apiBase, PathOf(apiBase) is var path && HasEndpoint(path)
        ? path[..^Endpoint.Length] + "/models" : path + "/models");

    /// <summary>Still escaped as it was written.</summary>
    private static string PathOf(Uri apiBase) => apiBase.AbsolutePath.TrimEnd('/');

    private static bool HasEndpoint(string path) =>
        path.EndsWith(Endpoint, StringComparison.OrdinalIgnoreCase);

    private static Uri At(Uri apiBase, string path) =>
        new(apiBase.GetLeftPart(UriPartial.Authority) + path + apiBase.Query);
}
