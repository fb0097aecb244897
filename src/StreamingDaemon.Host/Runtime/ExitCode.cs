namespace StreamingDaemon.Host.Runtime;

/// <summary>What the process ends with.</summary>
internal static class ExitCode
{
    public const int Success = 0;

    /// <summary>Something failed while running.</summary>
    public const int Failure = 1;

    /// <summary>The command line or the configuration is wrong; starting again will not help.</summary>
    public const int Usage = 2;
}
