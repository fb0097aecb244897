using System.Collections.Concurrent;
using System.Text;

namespace StreamingDaemon.Host.Configuration;

/// <summary>A file that holds a key, as secret managers write it. No message shows what is in it.</summary>
internal static class SecretFile
{
    /// <summary>The longest key in bytes: more than any HTTP server takes in a header.</summary>
    private const int MaxBytes = 16 * 1024;

    /// <summary>How a path begins that is in the service's credentials. systemd makes a directory of them
    /// for each unit, and so its name is not one to write down.</summary>
    private const string InCredentials = "$CREDENTIALS_DIRECTORY/";

    private static readonly SecretType s_type = new();

    /// <summary>By path: one for each that the configuration has named.</summary>
    private static readonly ConcurrentDictionary<string, RepeatedRead<string>> s_again = new();

    /// <summary>Reads the key, without one line end after it.</summary>
    /// <returns>Null, or what is wrong: the rest of a sentence that begins with the path.</returns>
    public static string? TryRead(string path, out string key)
    {
        var problem = TryReadText(path, out var text);
        key = "";
        return problem ?? TryReadKey(path, text, out key);
    }

    /// <summary>Reads the keys of a file that may hold several, a line each.</summary>
    /// <returns>As <see cref="TryRead"/>.</returns>
    public static string? TryReadAll(string path, int most, out IReadOnlyList<string> keys)
    {
        var all = new List<string>();
        keys = all;
        if (TryReadText(path, out var text) is { } problem)
            return problem;
        foreach (var line in text.ReplaceLineEndings("\n").Split('\n'))
        {
            if (TryReadKey(path, line, out var key) is { } wrong)
                return wrong;
            all.Add(key);
        }

        return all.Count > most ? $"holds {all.Count} lines; expected a key in each of {most} at most" : null;
    }

    private static string? TryReadText(string path, out string text)
    {
        text = "";
        if (path.StartsWith(InCredentials, StringComparison.Ordinal))
        {
            if (Environment.GetEnvironmentVariable(InCredentials[1..^1]) is not { Length: > 0 } directory)
                return "only a service of systemd with LoadCredential= has this directory";
            path = Path.Combine(directory, path[InCredentials.Length..]);
        }

        if (RegularFile.TryRead(path, out var bytes) is { } problem)
            return problem;
        var content = bytes.AsSpan();
        if (content.EndsWith("\n"u8))
            content = content.EndsWith("\r\n"u8) ? content[..^2] : content[..^1];
        if (content.IsEmpty)
            return "is empty; expected a key";
        if (content.Length > MaxBytes)
            return $"is larger than {MaxBytes} bytes; expected a key";
        // A byte that is not UTF-8 becomes U+FFFD, which no key may hold either.
        text = Encoding.UTF8.GetString(content);
        return null;
    }

    private static string? TryReadKey(string path, string text, out string key)
    {
        var raw = new RawSetting("", text, RawKind.Text, path);
        return s_type.Read(raw, out key) is { } wrong ? $"{wrong}; expected {s_type.Expected}" : null;
    }

    /// <summary>The key in the file, or null if it holds no usable key.</summary>
    public static string? Read(string path) => TryRead(path, out var key) is null ? key : null;

    /// <summary>As <see cref="Read"/>, for a daemon that runs: also null if the file system does not answer
    /// within a second. From any thread.</summary>
    public static string? ReadAgain(string path) =>
        s_again.GetOrAdd(path, static path => new RepeatedRead<string>(() => Read(path))).Read();

    /// <summary>Sets the keys whose files are named.</summary>
    public static DaemonOptions Fill(DaemonOptions options, OptionTable table, ConfigurationErrors errors)
    {
        foreach (var kind in options.Backends.Kinds)
        {
            foreach (var file in kind.SecretFiles)
            {
                var settings = options.Backends.Of(kind.Name).Options;
                if (file.Path.Get(settings) is not { } path)
                    continue;
                var name = table.Find($"{kind.Name}:{file.Path.Name}")!.Names;
                var keyName = table.Find($"{kind.Name}:{file.Secret.Name}")!.Names;
                if (file.Secret.Get(settings).Length > 0)
                    errors.Add(name, $"{keyName} is set too; keep one of the two");
                else if (TryRead(path, out var key) is { } problem)
                    errors.Add(name, $"{ShownValue.Of(path)}: {problem}");
                else
                    settings = file.Secret.Set(settings, key);
                options = options with { Backends = options.Backends.With(kind.Name, settings) };
            }
        }

        return options;
    }
}
