using System.Globalization;
using System.Text.RegularExpressions;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>What the upstream does with a kept answer.</summary>
public enum KeptFate
{
    Whole,
    Fast,
    Slow,

    /// <summary>Longer than <c>answers.max_answer_bytes</c>.</summary>
    TooLong,
    Truncated,
    Reset,
    ErrorEvent,
    Silent,

    /// <summary>The first call fails before it has anything to show; the next one is whole.</summary>
    FailsEmpty,
}

/// <summary>
/// One answer of the chaos, as its prompt tells the upstream. Each piece of its text names the answer, the
/// call and its own place, so a reader can tell whatever it gets: <c>id/call/piece</c>.
/// </summary>
/// <param name="Id">The answer's id: letters and digits.</param>
/// <param name="Fate">What becomes of it.</param>
/// <param name="Pieces">Pieces of the whole answer.</param>
/// <param name="PauseMs">Between two pieces.</param>
public sealed partial record KeptPlan(string Id, KeptFate Fate, int Pieces, int PauseMs)
{
    private const int LongPiece = 4_000;

    /// <summary>It may end with nothing to show, and is forgotten then. A reset may overtake all that was sent
    /// before it.</summary>
    public bool MayFailEmpty => Fate is KeptFate.FailsEmpty or KeptFate.Reset;

    public string Prompt => string.Create(CultureInfo.InvariantCulture, $"chaos:{Id}:{Fate}:{Pieces}:{PauseMs}");

    /// <summary>Finds the plan in a request's body.</summary>
    public static KeptPlan Of(string body)
    {
        var groups = PromptText().Match(body).Groups;
        return new KeptPlan(groups[1].Value, Enum.Parse<KeptFate>(groups[2].ValueSpan),
            int.Parse(groups[3].ValueSpan, CultureInfo.InvariantCulture),
            int.Parse(groups[4].ValueSpan, CultureInfo.InvariantCulture));
    }

    /// <summary>One piece of the text.</summary>
    /// <param name="call">The call of the model, from 1.</param>
    /// <param name="piece">Its place, from 1.</param>
    public string Piece(int call, int piece) => string.Create(CultureInfo.InvariantCulture, $"{Id}/{call}/{piece} ")
        + (Fate == KeptFate.TooLong ? new string('x', LongPiece) + " " : "");

    /// <summary>The text of the first pieces.</summary>
    public string Text(int call, int pieces) =>
        string.Concat(Enumerable.Range(1, pieces).Select(piece => Piece(call, piece)));

    public static KeptPlan Random(Random random, string id)
    {
        var fates = Enum.GetValues<KeptFate>();
        var fate = random.Next(2) == 0 ? KeptFate.Whole : fates[random.Next(fates.Length)];
        return fate switch
        {
            KeptFate.Fast => new KeptPlan(id, fate, random.Next(50, 300), 0),
            KeptFate.Slow => new KeptPlan(id, fate, random.Next(10, 30), 100),
            KeptFate.TooLong => new KeptPlan(id, fate, 60, 10),
            _ => new KeptPlan(id, fate, random.Next(5, 60), random.Next(5, 40)),
        };
    }

    [GeneratedRegex(@"chaos:(\w+):(\w+):(\d+):(\d+)")]
    private static partial Regex PromptText();
}
