using System.Text;
using StreamingDaemon.Host.Configuration;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

/// <summary>Files that were damaged by mistake: no message quotes a secret, wherever in the file it ends up.</summary>
public sealed class SecretMutationTests : IDisposable
{
    private const string Marker = "S3CR3T";
    private const string Key = $"sk-proj-{Marker}0123456789";

    private static readonly string[] s_lines =
    [
        "[server]", "max_connections = 100", "allowed_uids = [33, 1000]",
        "[backend]", "name = \"openai\"",
        "[openai]", $"api_key = \"{Key}\"", $"api_base = \"https://{Marker}:{Marker}@127.0.0.1/v1?key={Marker}\"",
        "model = \"m\"", "max_retries = 1", "http2_enabled = true",
        "[delivery]", "url = \"https://127.0.0.1/" + Marker + "?k=" + Marker + "\"", $"secret = \"whsec_{Marker}aaaa\"",
        "spool_dir = \"/nonexistent\"",
        "[logging]", "level = \"info\"",
        "[streaming]", "events = [\"usage\"]", "head_wait_ms = 100",
    ];

    private static readonly string[] s_signs =
    [
        "\"", "'", "=", "[", "]", "{", "}", "\n", "\r", "\r\n", "\0", "\u0001", "#", ",", ".", "\\", "\\u", "\ufeff",
        "'''", "\"\"\"", "[[", "]]", ":", " ", "\t", "0", "_", "-", "+", "$", "\u2028", "\ud83d\ude00", "true", "1e", "0x",
    ];

    private readonly Sandbox _sandbox = new();

    public void Dispose() => _sandbox.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Message_about_a_damaged_file_quotes_no_secret(int seed)
    {
        var random = new Random(seed);
        var refused = 0;
        for (var i = 0; i < 150; i++)
        {
            var text = Damage(random);
            foreach (var error in Errors(text))
            {
                refused++;
                Assert.False(error.Contains(Marker, StringComparison.OrdinalIgnoreCase), $"{error}\n{text}");
                Assert.DoesNotContain(error, c => char.IsControl(c));
            }
        }

        Assert.True(refused > 100, $"only {refused} messages");
    }

    private string[] Errors(string text)
    {
        File.WriteAllText(_sandbox.PathOf("streaming-daemon.toml"), text, new UTF8Encoding(false));
        try
        {
            _ = _sandbox.Load();
            return [];
        }
        catch (ConfigurationException e)
        {
            return [.. e.Errors];
        }
    }

    private static string Damage(Random random)
    {
        var lines = s_lines.ToList();
        for (var left = random.Next(1, 5); left > 0; left--)
            DamageLines(random, lines);
        var text = new StringBuilder(string.Join(random.Next(8) == 0 ? "\r\n" : "\n", lines) + "\n");
        for (var left = random.Next(0, 4); left > 0; left--)
        {
            var at = random.Next(text.Length);
            if (random.Next(3) == 0)
                text.Remove(at, Math.Min(random.Next(1, 6), text.Length - at));
            else
                text.Insert(at, s_signs[random.Next(s_signs.Length)]);
        }

        return text.ToString();
    }

    private static void DamageLines(Random random, List<string> lines)
    {
        var at = random.Next(lines.Count);
        var other = random.Next(lines.Count);
        var line = lines[at];
        var equals = line.IndexOf('=');
        var (key, value) = equals < 0 ? (line, line) : (line[..equals].Trim(), line[(equals + 1)..].Trim());
        switch (random.Next(16))
        {
            case 0:
                lines.RemoveAt(at);
                break;
            case 1:
                lines.Insert(other, line);
                break;
            case 2:
                (lines[at], lines[other]) = (lines[other], line);
                break;
            case 3:
                lines[at] = $"{key} = [{value}, {value}]";
                break;
            case 4:
                lines[at] = $"{key} = {{ {key} = {value}, x = {value} }}";
                break;
            case 5:
                lines[at] = $"{key}.{key} = {value}";
                break;
            case 6:
                lines[at] = $"{value} = {value}";
                break;
            case 7:
                lines[at] = $"[{value}]";
                break;
            case 8:
                lines[at] = $"[[{key.Trim('[', ']')}]]";
                break;
            case 9:
                lines[at] = $"{key} {value}";
                break;
            case 10:
                lines[at] = $"{key} = {value.Trim('"')}";
                break;
            case 11:
                lines[at] = $"{key} = \"\"{value}\"\"";
                break;
            case 12:
                lines[at] = $"{key}x = {value}";
                break;
            case 13:
                lines[at] = $"{key[..(key.Length / 2)]} = {value}";
                break;
            case 14:
                // A key in the place of another value.
                lines[at] = $"{key} = \"{Key}\"";
                break;
            default:
                lines[at] = $"\"{Key}\".{key} = {value}";
                break;
        }
    }
}
