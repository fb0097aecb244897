using System.Net.Http.Headers;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>The header that carries the key.</summary>
internal sealed record KeyHeader(string Name, string Value)
{
    /// <param name="auth"><see cref="OpenAIOptions.Auth"/></param>
    /// <param name="key">The key.</param>
    /// <returns>Null without a key.</returns>
    public static KeyHeader? Of(string auth, string key) => key.Length == 0 ? null
        : auth == "bearer" ? new("Authorization", $"Bearer {key}") : new("api-key", key);

    public void AddTo(HttpRequestHeaders headers) => headers.TryAddWithoutValidation(Name, Value);
}
