using System.Text.RegularExpressions;
using Tomlyn.Parsing;
using Tomlyn.Syntax;

namespace StreamingDaemon.Host.Configuration.Toml;

/// <summary>What is wrong with a file as TOML, before any option is looked at.</summary>
internal sealed record TomlSyntaxError(string Origin, string Message);

/// <summary>
/// A TOML file as a list of settings with their lines. Read from Tomlyn's syntax tree: its mapping to
/// objects needs reflection, and forgets where a value stood.
/// </summary>
internal sealed partial class TomlDocument
{
    private readonly List<RawSetting> _settings = [];
    private readonly List<TomlSyntaxError> _errors = [];
    private readonly List<(string Name, string Origin)> _tables = [];
    private readonly string _file;

    private TomlDocument(string file) => _file = file;

    public IReadOnlyList<RawSetting> Settings => _settings;
    public IReadOnlyList<TomlSyntaxError> Errors => _errors;

    /// <summary>
    /// Each <c>[table]</c> header, so that an empty one with a misspelt name is not overlooked.
    /// </summary>
    public IReadOnlyList<(string Name, string Origin)> Tables => _tables;

    public static TomlDocument Parse(string text, string file)
    {
        var document = new TomlDocument(file);
        var syntax = SyntaxParser.Parse(text, file, validate: false);
        // After an error of structure the tree is a guess. A leading zero is told by whoever knows what the
        // option takes, so that the message can say what to write instead.
        var broken = syntax.Diagnostics.Where(message => !IsLeadingZero(message)).ToList();
        if (broken.Count == 0)
        {
            broken = [.. SyntaxParser.Parse(text, file, validate: true).Diagnostics
                .Where(message => !IsLeadingZero(message))];
            document.Collect(syntax);
        }
        // A message of the parser may quote the file, and the file may hold a key.
        var secret = text.Contains("api_key", StringComparison.OrdinalIgnoreCase);
        foreach (var message in broken.OrderBy(message => message.Span.Start.Offset))
            document._errors.Add(document.Explain(message, secret));
        return document;
    }

    private static bool IsLeadingZero(DiagnosticMessage message) =>
        message.Message.StartsWith("Unexpected leading zero", StringComparison.Ordinal);

    private TomlSyntaxError Explain(DiagnosticMessage message, bool secret)
    {
        var start = message.Span.Start;
        var again = Redefinition().Match(message.Message);
        var text = again.Success
            ? $"{again.Groups[1].Value.Trim()} is already defined on line {again.Groups[2].Value}; keep one"
            : secret ? Quotation().Replace(message.Message, "…") : message.Message;
        return new TomlSyntaxError($"{_file}:{start.Line + 1}:{start.Column + 1}", text);
    }

    private void Collect(DocumentSyntax syntax)
    {
        foreach (var pair in syntax.KeyValues)
            Collect([], pair);
        foreach (var table in syntax.Tables)
        {
            var path = Path(table.Name);
            var name = string.Join('.', path);
            _tables.Add((name, At(table, table is TableArraySyntax ? $"[[{name}]]" : $"[{name}]")));
            foreach (var pair in table.Items)
                Collect(path, pair);
        }
    }

    private void Collect(IEnumerable<string> parent, KeyValueSyntax pair)
    {
        string[] path = [.. parent, .. Path(pair.Key)];
        if (pair.Value is InlineTableSyntax inline)
        {
            foreach (var item in inline.Items)
            {
                if (item.KeyValue is { } inner)
                    Collect(path, inner);
            }
            return;
        }
        var key = string.Join(':', path);
        var origin = At(pair, string.Join('.', path));
        _settings.Add(pair.Value switch
        {
            StringValueSyntax value => new RawSetting(key, value.Value ?? "", RawKind.String, origin),
            BooleanValueSyntax value =>
                new RawSetting(key, value.Value ? "true" : "false", RawKind.Boolean, origin),
            IntegerValueSyntax value => Integer(key, value, origin),
            ArraySyntax array => Array(key, array, origin),
            _ => new RawSetting(key, "", RawKind.Other, origin),
        });
    }

    private static RawSetting Integer(string key, IntegerValueSyntax value, string origin)
    {
        var written = value.Token?.Text ?? "";
        var kind = LeadingZero().IsMatch(written) ? RawKind.LeadingZero : RawKind.Integer;
        return new RawSetting(key, written, kind, origin) { Number = value.Value };
    }

    private static RawSetting Array(string key, ArraySyntax array, string origin)
    {
        var items = array.Items.Select(item => item.Value).ToList();
        // A leading zero would be read as another number than the one that was meant.
        return items.All(item => item is IntegerValueSyntax number
                && !LeadingZero().IsMatch(number.Token?.Text ?? ""))
            ? new RawSetting(key, string.Join(',', items.Select(item => ((IntegerValueSyntax)item!).Value)),
                RawKind.IntegerList, origin)
            : new RawSetting(key, "", RawKind.Other, origin);
    }

    private static List<string> Path(KeySyntax? key)
    {
        var path = new List<string>();
        if (key is null)
            return path;
        path.Add(Segment(key.Key));
        foreach (var dotted in key.DotKeys)
            path.Add(Segment(dotted.Key));
        return path;
    }

    private static string Segment(BareKeyOrStringValueSyntax? segment) => segment switch
    {
        BareKeySyntax bare => bare.Key?.Text ?? "",
        StringValueSyntax quoted => quoted.Value ?? "",
        _ => "",
    };

    private string At(SyntaxNode node, string what) => $"{_file}:{node.Span.Start.Line + 1}: {what}";

    [GeneratedRegex(@"^The key `([^`]+)` is already defined at \((\d+),")]
    private static partial Regex Redefinition();

    [GeneratedRegex("`.*`", RegexOptions.Singleline)]
    private static partial Regex Quotation();

    [GeneratedRegex("^[+-]?0[0-9_]")]
    private static partial Regex LeadingZero();
}
