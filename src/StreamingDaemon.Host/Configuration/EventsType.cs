using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;

namespace StreamingDaemon.Host.Configuration;

/// <summary>Names of a stream's extra events: an array in files, comma-separated elsewhere.</summary>
internal sealed class EventsType : OptionType<DeltaKinds>
{
    private static readonly string[] s_names = [.. StreamEvents.All.Select(known => known.Name)];

    public override string Expected =>
        $"a list of {string.Join(", ", s_names)}, [\"reasoning\", \"finish\"] in a file and "
        + "reasoning,finish elsewhere";

    public override string Range => $"list of {string.Join(", ", s_names)}";

    public override string? Read(RawSetting raw, out DeltaKinds value)
    {
        value = DeltaKinds.None;
        // An empty array has no kind of its own.
        if (raw.Text.Length == 0 && raw.Kind is RawKind.IntegerList or RawKind.Text)
            return null;
        if (raw.Kind is not (RawKind.StringList or RawKind.Text))
            return WrongKind(raw);
        foreach (var name in raw.Text.Split(',', StringSplitOptions.TrimEntries))
        {
            var kind = StreamEvents.Find(name);
            if (kind == DeltaKinds.None)
            {
                if (ShownValue.MayBeKey(name))
                    return $"{ShownValue.Of(name)} is unknown";
                return Spelling.Closest(name, s_names) is { } closest
                    ? $"'{name}' in {raw.Quoted} is unknown, did you mean {closest}"
                    : $"'{name}' in {raw.Quoted} is unknown";
            }

            value |= kind;
        }

        return null;
    }

    public override string Format(DeltaKinds value) => string.Join(',', Names(value));

    public override string ToToml(DeltaKinds value) =>
        $"[{string.Join(", ", Names(value).Select(name => $"\"{name}\""))}]";

    private static IEnumerable<string> Names(DeltaKinds value) =>
        StreamEvents.All.Where(known => value.HasFlag(known.Kind)).Select(known => known.Name);
}
