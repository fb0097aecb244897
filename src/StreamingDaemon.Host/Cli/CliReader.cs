using System.CommandLine;
using System.CommandLine.Parsing;
using System.Text.Json;
using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Cli;

/// <summary>Takes the values out of a parsed command line.</summary>
internal sealed class CliReader(CommandTree tree, ParseResult result)
{
    private readonly ConfigurationErrors _errors = new();

    public CliValues Values()
    {
        var settings = new List<RawSetting>();
        foreach (var (spec, option) in tree.Table)
        {
            var text = spec.Cli!.Value is null ? Switch(option) : Last(option);
            if (text is not null)
                settings.Add(new RawSetting(spec.Key, text, RawKind.Text, option.Name));
        }
        var config = Last(tree.Config);
        _errors.ThrowIfAny();
        return new CliValues(config, settings);
    }

    /// <summary>The value of <c>--socket</c>, if given.</summary>
    public string? Socket()
    {
        var (spec, option) = tree.Table.First(pair => pair.Spec.Key == "server:socket");
        if (Last(option) is not { } path)
            return null;
        var raw = new RawSetting(spec.Key, path, RawKind.Text, option.Name);
        if (spec.Check(raw, out var canonical) is { } problem)
            _errors.Add(option.Name, problem);
        _errors.ThrowIfAny();
        return canonical;
    }

    public int Port() => Number(tree.Port, CommandTree.DemoPort, CommandTree.DefaultDemoPort);

    /// <summary>Seconds; 0 is no limit.</summary>
    public int Timeout() => Number(tree.Timeout, CommandTree.SendTimeout, CommandTree.DefaultSendTimeout);

    private int Number(Option<string[]> option, IntType type, int byDefault)
    {
        var number = byDefault;
        var text = Last(option);
        var raw = new RawSetting(option.Name, text ?? "", RawKind.Text, option.Name);
        if (text is not null && type.Read(raw, out number) is { } problem)
            _errors.Add(option.Name, $"{problem}; expected {type.Expected}");
        _errors.ThrowIfAny();
        return number;
    }

    /// <summary>The one delivery that is meant; null for all.</summary>
    public string? DeliveryId()
    {
        var id = result.GetValue(tree.DeliveryId);
        var all = result.GetValue(tree.AllDeliveries);
        if (all == id is not null)
            _errors.Add("deliveries", "give either the ID of a delivery, or --all");
        _errors.ThrowIfAny();
        return id;
    }

    public (string? Prompt, string? Data) Message()
    {
        var prompt = Last(tree.Prompt);
        var data = Last(tree.Data);
        if (prompt is null && data is null)
            _errors.Add("send", "nothing to send; give --prompt TEXT or --data JSON");
        if (data is not null && !IsJsonObject(data))
        {
            _errors.Add("--data",
                "the value is not a JSON object; expected for example '{\"prompt\": \"Hello\"}'");
        }
        _errors.ThrowIfAny();
        return (prompt, data);
    }

    private static bool IsJsonObject(string text)
    {
        try
        {
            using var document = JsonDocument.Parse(text);
            return document.RootElement.ValueKind == JsonValueKind.Object;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    private string? Last(Option<string[]> option)
    {
        if (result.GetResult(option) is not { Implicit: false } given)
            return null;
        // A forgotten value: "--socket --sqpoll" would make a socket of that name, and "-s a -s" would hide
        // that the second has none.
        if (given.Tokens.Count < given.IdentifierTokenCount || IsOption(given.Tokens[^1].Value))
            _errors.Add(option.Name, $"the value is missing; expected {option.Name} {option.HelpName}");
        return given.Tokens.Count == 0 ? "" : given.Tokens[^1].Value;
    }

    private bool IsOption(string value) => value.StartsWith('-') && tree.NamesFor(result).Contains(value);

    private string? Switch(Option<string[]> option)
    {
        if (result.GetResult(option) is not OptionResult { Implicit: false })
            return null;
        // Only options take arguments, so the word after a switch is its value; the last switch counts.
        var last = result.Tokens.ToList().FindLastIndex(
            token => token.Type == TokenType.Option && IsNameOf(option, token.Value));
        var next = result.Tokens.ElementAtOrDefault(last + 1);
        return next is { Type: TokenType.Argument } ? next.Value : "true";
    }

    private static bool IsNameOf(Option<string[]> option, string text) =>
        option.Name == text || option.Aliases.Contains(text);
}
