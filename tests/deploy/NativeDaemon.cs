using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>
/// The Native AOT binary, as in the images and packages: DAEMON_UNDER_TEST names it.
/// </summary>
internal static class NativeDaemon
{
    /// <summary>Trait of the tests that need it; test.sh skips them if it publishes no binary.</summary>
    public const string Trait = "Needs";
    public const string NativeAot = "NativeAot";

    private const string Variable = "DAEMON_UNDER_TEST";

    public static string Binary { get; } =
        Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } binary
            ? binary
            : throw new InvalidOperationException(
                $"{Variable} names no Native AOT binary: dotnet publish -c Release -r linux-x64 "
                + "src/StreamingDaemon.Host -o artifacts/aot, and set it to artifacts/aot/streaming-daemon");

    /// <summary>Starts the daemon through another program, which gets its command line.</summary>
    public static async Task<DaemonProcess> StartAsync(string wrapper,
        IReadOnlyDictionary<string, string>? environment, params string[] arguments)
    {
        _ = Binary;
        Environment.SetEnvironmentVariable(Variable, wrapper);
        try
        {
            return await DaemonProcess.StartAsync(environment, true, arguments);
        }
        finally
        {
            Environment.SetEnvironmentVariable(Variable, Binary);
        }
    }
}
