namespace StreamingDaemon.Backends.OpenAI;

/// <summary>Guesses which program answers, from headers and names that such programs send.</summary>
internal static class ServerKind
{
    private static readonly (string Header, string Kind)[] s_headers =
    [
        // Azure first: it passes OpenAI's own headers on.
        ("apim-request-id", "Azure"), ("x-ms-region", "Azure"), ("azureml-model-session", "Azure"),
        ("openai-processing-ms", "OpenAI"), ("openai-version", "OpenAI"),
        ("x-litellm-call-id", "LiteLLM"), ("x-groq-region", "Groq"),
    ];

    private static readonly (string Owner, string Kind)[] s_owners =
    [
        ("vllm", "vLLM"), ("sglang", "SGLang"), ("llamacpp", "llama.cpp"), ("library", "Ollama"),
        ("ollama", "Ollama"), ("organization_owner", "LM Studio"),
        ("openai", "OpenAI"), ("openai-internal", "OpenAI"), ("system", "OpenAI"),
    ];

    /// <returns>Null if the headers do not tell.</returns>
    public static string? OfHeaders(IReadOnlyDictionary<string, string> headers)
    {
        foreach (var (header, kind) in s_headers)
        {
            if (headers.ContainsKey(header))
                return kind;
        }

        return headers.TryGetValue("Server", out var server)
            && server.Contains("llama.cpp", StringComparison.OrdinalIgnoreCase) ? "llama.cpp" : null;
    }

    /// <param name="owners">The values of <c>owned_by</c> in the list of models.</param>
    /// <returns>Null if they do not tell.</returns>
    public static string? OfOwners(IReadOnlyCollection<string> owners)
    {
        foreach (var (owner, kind) in s_owners)
        {
            if (owners.Contains(owner))
                return kind;
        }

        return null;
    }
}
