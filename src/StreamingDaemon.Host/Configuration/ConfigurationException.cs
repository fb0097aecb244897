namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// The configuration cannot be used. The message is complete: one line for each thing to mend.
/// </summary>
internal sealed class ConfigurationException(IReadOnlyList<string> errors)
    : Exception(string.Join(Environment.NewLine, errors))
{
    public IReadOnlyList<string> Errors => errors;
}

/// <summary>
/// Everything wrong with the configuration, so that it is told at once and not one a start.
/// </summary>
internal sealed class ConfigurationErrors
{
    private readonly List<string> _errors = [];

    public void Add(string origin, string problem) => _errors.Add($"{origin}: {problem}");

    public void ThrowIfAny()
    {
        if (_errors.Count > 0)
            throw new ConfigurationException([.. _errors]);
    }
}
