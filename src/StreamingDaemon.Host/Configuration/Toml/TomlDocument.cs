using System.Text;
using System.Text.RegularExpressions;
using Tomlyn;
using Tomlyn.Parsing;
using Tomlyn.Syntax;

namespace StreamingDaemon.Host.Configuration.Toml;

/// <summary>What is wrong with a file as TOML, before any option is looked at.</summary>
internal sealed record TomlSyntaxError(string Origin, string Message);

/// <summary>A <c>[table]</c> or <c>[[array of tables]]</c>, and the line of its header.</summary>
internal sealed record TomlTable(string Name, bool IsArray, string Place);

/// <summary>
/// A TOML file as a list of settings with their lines. Read from Tomlyn's syntax tree: its mapping to objects
/// needs reflection, and loses the position of a value.
/// </summary>
internal sealed partial class TomlDocument
{
    private const int DeepestKey = 16;

    private static readonly UTF8Encoding s_utf8 = new(false, throwOnInvalidBytes: true);

    private readonly List<RawSetting> _settings = [];
    private readonly List<TomlSyntaxError> _errors = [];
    private readonly List<TomlTable> _tables = [];
    private readonly string _file;
    private readonly TomlText _text;
    private readonly OptionTable _table;
    private int _deepest;

    private TomlDocument(string file, TomlText text, OptionTable? table = null) =>
        (_file, _text, _table) = (file, text, table ?? OptionTable.BuiltIn);

    public IReadOnlyList<RawSetting> Settings => _settings;
    public IReadOnlyList<TomlSyntaxError> Errors => _errors;

    /// <summary>
    /// Each <c>[table]</c> header, so that an empty one with a misspelt name is reported.
    /// </summary>
    public IReadOnlyList<TomlTable> Tables => _tables;

    /// <summary>Reads and parses a file. The errors of both are in <see cref="Errors"/>.</summary>
    public static TomlDocument Read(string path, OptionTable? table = null)
    {
        if (RegularFile.TryRead(path, out var bytes) is { } problem)
            return Broken(path, path, problem);
        try
        {
            // Strict: a path with a replacement for an unreadable character would be another path. No other
            // encoding is guessed from the first bytes: TOML is UTF-8.
            return Parse(s_utf8.GetString(bytes).TrimStart('\ufeff'), path, table);
        }
        catch (DecoderFallbackException)
        {
            return Broken(path, path, "cannot be read: it is not UTF-8");
        }
    }

    public static TomlDocument Parse(string text, string file, OptionTable? table = null)
    {
        var document = new TomlDocument(file, TomlText.Of(text), table);
        try
        {
            document.Parse();
        }
        catch (TomlException)
        {
            // The exception's message may quote the file. Its cause is one of the parser's own limits.
            return Broken(file, file, "arrays or tables are nested too deeply; no option nests them");
        }

        return document;
    }

    private static TomlDocument Broken(string file, string origin, string problem)
    {
        var document = new TomlDocument(file, TomlText.Of(""));
        document._errors.Add(new TomlSyntaxError(origin, problem));
        return document;
    }

    private void Parse()
    {
        if (_text.IsTooLong)
        {
            _errors.Add(new TomlSyntaxError(
                _file, $"holds more than {TomlText.Most / 1024} KiB besides comments"));
            return;
        }

        var syntax = SyntaxParser.Parse(_text.Text, _file, validate: false);
        // After a structural error the tree is a guess. A leading zero is reported later, by code that knows
        // what the option takes, so the message can say what to write instead.
        if (TryExplain(syntax))
            return;
        Collect(syntax);
        // The second pass costs more than the first, and a file with so many settings is wrong already.
        if (IsTooMuch)
        {
            _errors.Add(new TomlSyntaxError(_file,
                $"holds more than {RawSetting.Most} settings, or a key of more than {DeepestKey} parts"));
            _settings.Clear();
            _tables.Clear();
            return;
        }

        _ = TryExplain(SyntaxParser.Parse(_text.Text, _file, validate: true));
    }

    private bool IsTooMuch => _settings.Count + _tables.Count > RawSetting.Most || _deepest > DeepestKey;

    private bool TryExplain(DocumentSyntax syntax)
    {
        var broken = syntax.Diagnostics.Where(message => !TomlProblem.IsLeadingZero(message))
            .Take(ConfigurationErrors.Most).OrderBy(message => message.Span.Start.Offset).ToList();
        foreach (var message in broken)
        {
            var start = message.Span.Start;
            _errors.Add(new TomlSyntaxError(
                $"{_file}:{_text.LineOf(start.Line + 1)}:{start.Column + 1}",
                TomlProblem.Explain(message, _text, _table)));
        }

        return broken.Count > 0;
    }

    private void Collect(DocumentSyntax syntax)
    {
        foreach (var pair in syntax.KeyValues)
            Collect([], pair);
        foreach (var table in syntax.Tables)
        {
            if (IsTooMuch)
                return;
            var path = Path(table.Name);
            _tables.Add(new TomlTable(
                string.Join('.', path), table is TableArraySyntax, At(table)));
            foreach (var pair in table.Items)
                Collect(path, pair);
        }
    }

    private void Collect(IEnumerable<string> parent, KeyValueSyntax pair)
    {
        if (IsTooMuch)
            return;
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
        var origin = _table.OriginOf(At(pair), key);
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
        if (items.Count > 0 && items.All(item => item is StringValueSyntax))
        {
            var texts = items.Select(item => ((StringValueSyntax)item!).Value);
            return new RawSetting(key, string.Join(',', texts), RawKind.StringList, origin);
        }

        // A leading zero would be read as a different number than the intended one.
        return items.All(item => item is IntegerValueSyntax number
                && !LeadingZero().IsMatch(number.Token?.Text ?? ""))
            ? new RawSetting(key, string.Join(',', items.Select(item => ((IntegerValueSyntax)item!).Value)),
                RawKind.IntegerList, origin)
            : new RawSetting(key, "", RawKind.Other, origin);
    }

    private List<string> Path(KeySyntax? key)
    {
        var path = new List<string>();
        if (key is null)
            return path;
        path.Add(Segment(key.Key));
        foreach (var dotted in key.DotKeys)
            path.Add(Segment(dotted.Key));
        _deepest = Math.Max(_deepest, path.Count);
        return path;
    }

    private static string Segment(BareKeyOrStringValueSyntax? segment) => RawSetting.Cut(segment switch
    {
        BareKeySyntax bare => bare.Key?.Text ?? "",
        StringValueSyntax quoted => quoted.Value ?? "",
        _ => "",
    });

    private string At(SyntaxNode node) => $"{_file}:{_text.LineOf(node.Span.Start.Line + 1)}";

    [GeneratedRegex("^[+-]?0[0-9_]")]
    private static partial Regex LeadingZero();
}
