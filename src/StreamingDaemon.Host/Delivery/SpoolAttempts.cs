using System.Globalization;
using System.Text.Json;

namespace StreamingDaemon.Host.Delivery;

/// <summary>What became of a delivery so far. It is for people, and for the pause after a restart: a lost one
/// costs nothing.</summary>
/// <param name="Count">How often it was tried.</param>
/// <param name="LastAt">When it was last tried.</param>
/// <param name="LastError">Why it failed.</param>
internal sealed record SpoolAttempts(int Count, DateTimeOffset LastAt, string LastError)
{
    public byte[] ToJson()
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteNumber("attempts", Count);
            json.WriteString("last_attempt", LastAt.ToString("O", CultureInfo.InvariantCulture));
            json.WriteString("last_error", LastError);
            json.WriteEndObject();
        }

        return buffer.ToArray();
    }

    /// <returns>Null if there is no such file, or none that can be read.</returns>
    public static SpoolAttempts? Read(string path)
    {
        try
        {
            if (!File.Exists(path))
                return null;
            using var document = JsonDocument.Parse(File.ReadAllBytes(path));
            var root = document.RootElement;
            return new SpoolAttempts(root.GetProperty("attempts").GetInt32(),
                root.GetProperty("last_attempt").GetDateTimeOffset(),
                root.GetProperty("last_error").GetString() ?? "");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException
            or InvalidOperationException or KeyNotFoundException or FormatException)
        {
            return null;
        }
    }
}
