using System.Globalization;
using System.Text;
using System.Text.Json;
using StreamingDaemon.Host.Cli;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Delivery;
using StreamingDaemon.Host.Runtime;

namespace StreamingDaemon.Host.Commands;

/// <summary>
/// <c>deliveries</c>: lists what is in the spool, and changes it. It works on the files alone, beside a
/// daemon that runs or without one.
/// </summary>
internal sealed class DeliveriesCommand(DeliveryOptions options, TextWriter output, TextWriter error)
{
    private readonly DeliverySpool _spool = new(options.SpoolDir);

    public int Run(DeliveriesAct act, string? id, bool json)
    {
        if (act == DeliveriesAct.List)
        {
            var all = List();
            output.WriteLine(json ? ToJson(all) : ToTable(all));
            return ExitCode.Success;
        }

        var chosen = List().Where(entry => id is null || entry.Name.Id == id).ToList();
        foreach (var entry in chosen)
        {
            if (act == DeliveriesAct.Retry)
                Retry(entry);
            else
                Drop(entry);
        }

        if (id is not null && chosen.Count == 0)
        {
            CommandLine.Say(error, $"no delivery {PrintedText.Harmless(id)} in {options.SpoolDir}; see "
                + "streaming-daemon deliveries list");
            return ExitCode.Failure;
        }

        if (chosen.Count > 0)
            _spool.Touch();
        var done = act == DeliveriesAct.Retry ? "to be sent at once" : "dropped";
        output.WriteLine($"{chosen.Count} {done}");
        return ExitCode.Success;
    }

    private List<Entry> List() =>
    [
        .. _spool.Pending().OrderBy(name => name.Order)
            .Select(name => new Entry(name, IsDead: false, _spool.AttemptsOfPending(name))),
        .. _spool.Dead().OrderBy(name => name.Order)
            .Select(name => new Entry(name, IsDead: true, _spool.AttemptsOfDead(name))),
    ];

    private void Retry(Entry entry)
    {
        if (entry.IsDead)
            _spool.Revive(entry.Name);
        else
            _spool.ForgetAttempts(entry.Name);
    }

    private void Drop(Entry entry)
    {
        if (entry.IsDead)
            _spool.RemoveDead(entry.Name);
        else
            _spool.RemovePending(entry.Name);
    }

    private string ToTable(List<Entry> all)
    {
        var text = new StringBuilder();
        foreach (var entry in all)
        {
            text.Append(CultureInfo.InvariantCulture,
                $"{entry.Name.Id}  {entry.State,-7}  {Age(entry),8}  {entry.Attempts?.Count ?? 0,4} tries  ")
                .AppendLine(PrintedText.Harmless(entry.Attempts?.LastError ?? ""));
        }

        var dead = all.Count(entry => entry.IsDead);
        return text.Append(CultureInfo.InvariantCulture,
            $"{all.Count - dead} waiting, {dead} dead in {options.SpoolDir}").ToString();
    }

    private static string ToJson(List<Entry> all)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartArray();
            foreach (var entry in all)
            {
                json.WriteStartObject();
                json.WriteString("id", entry.Name.Id);
                json.WriteString("state", entry.State);
                json.WriteNumber("age_s", (long)entry.Age.TotalSeconds);
                json.WriteNumber("attempts", entry.Attempts?.Count ?? 0);
                json.WriteString("last_error", entry.Attempts?.LastError);
                json.WriteEndObject();
            }

            json.WriteEndArray();
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    private static string Age(Entry entry) => entry.Age switch
    {
        { TotalMinutes: < 2 } age => string.Create(CultureInfo.InvariantCulture, $"{age.TotalSeconds:0} s"),
        { TotalHours: < 2 } age => string.Create(CultureInfo.InvariantCulture, $"{age.TotalMinutes:0} min"),
        var age => string.Create(CultureInfo.InvariantCulture, $"{age.TotalHours:0} h"),
    };

    private sealed record Entry(SpoolName Name, bool IsDead, SpoolAttempts? Attempts)
    {
        public string State => IsDead ? "dead" : "waiting";

        public TimeSpan Age => DateTimeOffset.UtcNow - Name.AcceptedAt;
    }
}
