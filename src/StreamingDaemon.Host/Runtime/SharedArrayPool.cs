namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// How much the runtime's shared array pool may keep. An HTTP/2 stream of the runtime's client rents 16 KB
/// for each chunk that waits to be read, so that a few hundred streams empty the pool as it is, 32 arrays a
/// core, and every further chunk of some 200 bytes allocates 16 KB.
/// </summary>
internal static class SharedArrayPool
{
    private const string Variable = "DOTNET_SYSTEM_BUFFERS_SHAREDARRAYPOOL_MAXARRAYSPERPARTITION";
    private const string ArraysPerCore = "512";

    /// <summary>To be called before anything rents. The environment wins.</summary>
    public static void Enlarge()
    {
        if (Environment.GetEnvironmentVariable(Variable) is null)
            Environment.SetEnvironmentVariable(Variable, ArraysPerCore);
    }
}
