using System.Text.Json;

namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// appsettings.json next to the binary: the packager's defaults, with the tree of the TOML file. Read here,
/// because the framework's provider does not keep numbers and strings apart.
/// </summary>
internal static class AppSettings
{
    public const string FileName = "appsettings.json";

    private static readonly JsonReaderOptions s_options = new()
    {
        CommentHandling = JsonCommentHandling.Skip,
        AllowTrailingCommas = true,
    };

    public static List<RawSetting> Read(string path, OptionTable table, ConfigurationErrors errors)
    {
        var settings = new List<RawSetting>();
        if (RegularFile.TryRead(path, out var bytes) is { } problem)
        {
            errors.Add(path, problem);
            return settings;
        }

        try
        {
            var reader = new Utf8JsonReader(bytes, s_options);
            reader.Read();
            if (reader.TokenType == JsonTokenType.StartObject)
                new Walk(path, bytes, table, settings).Collect(ref reader, "");
            else
                errors.Add(path, "the root is not an object; expected { \"server\": { … } }");
            if (settings.Count > RawSetting.Most)
                errors.Add(path, $"holds more than {RawSetting.Most} settings");
            // The text after the root is read too: it is an error.
            while (reader.Read())
                reader.Skip();
        }
        catch (JsonException e)
        {
            // The exception's message quotes the file, which may hold a key; the position is enough.
            errors.Add($"{path}:{e.LineNumber + 1}:{e.BytePositionInLine + 1}", "not valid JSON");
        }
        catch (InvalidOperationException)
        {
            errors.Add(path, "not valid JSON: it is not UTF-8");
        }

        return settings;
    }

    /// <summary>One pass over the file, which counts its lines.</summary>
    private sealed class Walk(string path, byte[] bytes, OptionTable table, List<RawSetting> settings)
    {
        private int _line = 1;
        private int _counted;

        public void Collect(ref Utf8JsonReader reader, string prefix)
        {
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var line = LineAt((int)reader.TokenStartIndex);
                var key = prefix + RawSetting.Cut(reader.GetString()!);
                reader.Read();
                if (reader.TokenType == JsonTokenType.StartObject)
                    Collect(ref reader, key + ":");
                else if (settings.Count > RawSetting.Most)
                    reader.Skip();
                else
                    settings.Add(Setting(key, JsonElement.ParseValue(ref reader), Origin(key, line)));
            }
        }

        private string Origin(string key, int line) =>
            table.NameToShow(key) is { } name ? $"{path}: {name}" : $"{path}:{line}";

        private int LineAt(int offset)
        {
            _line += bytes.AsSpan(_counted, offset - _counted).Count((byte)'\n');
            _counted = offset;
            return _line;
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
        JsonValueKind.Array when value.EnumerateArray().All(item => item.ValueKind == JsonValueKind.String) =>
            new RawSetting(key, string.Join(',', value.EnumerateArray().Select(item => item.GetString())),
                RawKind.StringList, origin),
        _ => new RawSetting(key, "", RawKind.Other, origin),
    };
}
