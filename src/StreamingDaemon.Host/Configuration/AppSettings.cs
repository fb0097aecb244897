using System.Text.Json;

namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// appsettings.json next to the binary: the packager's defaults, with the tree of the TOML file. Read here
/// and not by the framework's provider, which forgets what is a number and what is a string.
/// </summary>
internal static class AppSettings
{
    public const string FileName = "appsettings.json";

    private static readonly JsonDocumentOptions s_options = new()
    {
        CommentHandling = JsonCommentHandling.Skip,
        AllowTrailingCommas = true,
    };

    public static List<RawSetting> Read(string path, ConfigurationErrors errors)
    {
        var settings = new List<RawSetting>();
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(path), s_options);
            if (document.RootElement.ValueKind == JsonValueKind.Object)
                Collect(document.RootElement, "", path, settings);
            else
                errors.Add(path, "the root is not an object; expected { \"server\": { … } }");
        }
        catch (JsonException e)
        {
            // Its message quotes the file; the position is enough, and the file may hold a key.
            errors.Add($"{path}:{e.LineNumber + 1}:{e.BytePositionInLine + 1}", "not valid JSON");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            errors.Add(path, $"cannot be read: {e.Message}");
        }
        return settings;
    }

    private static void Collect(JsonElement parent, string prefix, string path, List<RawSetting> settings)
    {
        foreach (var property in parent.EnumerateObject())
        {
            var key = prefix + property.Name;
            if (property.Value.ValueKind == JsonValueKind.Object)
                Collect(property.Value, key + ":", path, settings);
            else
                settings.Add(Setting(key, property.Value, $"{path}: {key.Replace(':', '.')}"));
        }
    }

    private static RawSetting Setting(string key, JsonElement value, string origin) => value.ValueKind switch
    {
        JsonValueKind.String => new RawSetting(key, value.GetString()!, RawKind.String, origin),
        JsonValueKind.True => new RawSetting(key, "true", RawKind.Boolean, origin),
        JsonValueKind.False => new RawSetting(key, "false", RawKind.Boolean, origin),
        JsonValueKind.Number when value.TryGetInt64(out var number) =>
            new RawSetting(key, value.GetRawText(), RawKind.Integer, origin) { Number = number },
        JsonValueKind.Array when value.EnumerateArray().All(
            item => item.ValueKind == JsonValueKind.Number && item.TryGetInt64(out _)) =>
            new RawSetting(key, string.Join(',', value.EnumerateArray().Select(item => item.GetInt64())),
                RawKind.IntegerList, origin),
        _ => new RawSetting(key, "", RawKind.Other, origin),
    };
}
