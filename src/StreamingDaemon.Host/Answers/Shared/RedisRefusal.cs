namespace StreamingDaemon.Host.Answers.Shared;

/// <summary>Why Redis refuses a command, as it is logged.</summary>
/// <param name="Text">Its word, or its sentence if the word says nothing.</param>
/// <param name="Kind">The kind of log line: one of few, whatever Redis says.</param>
internal readonly record struct RedisRefusal(string Text, string Kind)
{
    private const int MostText = 120;

    /// <summary>Words that say enough (Redis manual; each command's errors).</summary>
    private static readonly string[] s_words =
    [
        "OOM", "MISCONF", "READONLY", "NOREPLICAS", "NOAUTH", "WRONGPASS", "NOPERM", "LOADING", "BUSY",
        "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "WRONGTYPE",
    ];

    public static RedisRefusal Of(string error)
    {
        var word = error.Split(' ', 2)[0];
        if (s_words.Contains(word))
            return new RedisRefusal(word, "Redis refuses: " + word);
        // What follows repeats the script.
        foreach (var rest in (string[])[", with args", " script: "])
        {
            if (error.IndexOf(rest, StringComparison.Ordinal) is >= 0 and var end)
                error = error[..end];
        }

        return new RedisRefusal(error.Length > MostText ? error[..MostText] : error, "Redis refuses");
    }
}
