using System.Globalization;
using System.Text.RegularExpressions;

namespace StreamingDaemon.DeployTests;

/// <summary>
/// The chart, rendered by as much of Helm's language as its templates use: a value, the release's name,
/// <c>add</c>, and <c>if</c> around a file. Anything else is an error.
/// </summary>
internal static partial class HelmChart
{
    private static readonly string Directory = Tool.InRepository("deploy", "helm", "streaming-daemon");

    /// <summary>All templates rendered, with some values set as by <c>--set</c>.</summary>
    public static IReadOnlyList<object> Render(string release, params (string Path, string Value)[] set)
    {
        var values = Values(File.ReadAllLines(Path.Combine(Directory, "values.yaml")));
        foreach (var (path, value) in set)
            values[path] = values.ContainsKey(path) ? value : throw new ArgumentException($"no value {path}");
        var used = new HashSet<string>();
        var rendered = System.IO.Directory.GetFiles(Path.Combine(Directory, "templates")).Order()
            .Select(file => Render(File.ReadAllText(file), release, values, used)).ToList();
        Assert.Equal(values.Keys.Order(), used.Order());
        return [.. rendered.SelectMany(Manifests.Read)];
    }

    private static string Render(string template, string release, Dictionary<string, string> values,
        HashSet<string> used)
    {
        if (Condition().Match(template) is { Success: true } condition)
        {
            template = Value(condition.Groups[1].Value) == "true" ? condition.Groups[2].Value : "";
        }

        return Action().Replace(template, action =>
        {
            var words = action.Groups[1].Value.Split(' ');
            return words switch
            {
                [".Release.Name"] => release,
                ["add", var left, var right] => (Number(left) + Number(right)).ToString(CultureInfo.InvariantCulture),
                [var one] => Value(one),
                _ => throw new InvalidOperationException($"not of the templates' few words: {action.Value}"),
            };
        });

        long Number(string word) => long.Parse(word[0] == '.' ? Value(word) : word, CultureInfo.InvariantCulture);

        string Value(string word)
        {
            var path = word.StartsWith(".Values.", StringComparison.Ordinal)
                ? word[".Values.".Length..] : throw new InvalidOperationException($"not a value: {word}");
            used.Add(path);
            return values[path];
        }
    }

    /// <summary>Leaves of values.yaml, which is two levels deep, by their dotted paths.</summary>
    private static Dictionary<string, string> Values(IEnumerable<string> lines)
    {
        var values = new Dictionary<string, string>();
        var section = "";
        foreach (var line in lines.Where(l => l.Length > 0 && l.TrimStart()[0] != '#'))
        {
            var (name, value) = (line.Split(':')[0].Trim(), line[(line.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim());
            if (line[0] != ' ')
                section = value.Length == 0 ? name + "." : "";
            if (value.Length > 0)
                values[section + name] = value;
        }

        return values;
    }

    [GeneratedRegex(@"^\{\{- if (\S+) \}\}\n(.*)\{\{- end \}\}\n$", RegexOptions.Singleline)]
    private static partial Regex Condition();

    [GeneratedRegex(@"\{\{-? *(.*?) *-?\}\}")]
    private static partial Regex Action();
}
