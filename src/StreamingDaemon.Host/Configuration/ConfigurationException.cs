namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// The configuration is unusable. The message is complete: one line for each thing to fix.
/// </summary>
internal sealed class ConfigurationException(IReadOnlyList<string> errors)
    : Exception(string.Join(Environment.NewLine, errors))
{
    public IReadOnlyList<string> Errors => errors;
}

/// <summary>
/// Everything wrong with the configuration, so that one start reports all of it.
/// </summary>
internal sealed class ConfigurationErrors
{
    /// <summary>Further errors are only counted. A file of another kind is wrong in every line.</summary>
    public const int Most = 30;

    private readonly List<string> _errors = [];
    private int _more;

    /// <summary>The first error, or null.</summary>
    public string? First => _errors.FirstOrDefault();

    public void Add(string origin, string problem)
    {
        if (_errors.Count < Most)
            _errors.Add($"{origin}: {problem}");
        else
            _more++;
    }

    public void ThrowIfAny()
    {
        if (_more > 0)
            throw new ConfigurationException([.. _errors, $"configuration: and {_more} more mistakes"]);
        if (_errors.Count > 0)
            throw new ConfigurationException([.. _errors]);
    }
}
