namespace StreamingDaemon.Host.Runtime;

/// <summary>Exit codes of the process.</summary>
internal static class ExitCode
{
    public const int Success = 0;

    /// <summary>The start failed, or something failed later.</summary>
    public const int Failure = 1;

    /// <summary>The command line or the configuration is wrong: a restart will not help.</summary>
    public const int Usage = 2;
}
