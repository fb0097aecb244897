namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// Sets how many arrays the runtime's shared array pool may keep. Each HTTP/2 stream rents 16 KB for each
/// chunk that waits to be read. The default pool has 32 arrays per core, which a few hundred streams use up.
/// After that, every chunk of some 200 bytes would allocate 16 KB.
/// </summary>
internal static class SharedArrayPool
{
    private const string Variable = "DOTNET_SYSTEM_BUFFERS_SHAREDARRAYPOOL_MAXARRAYSPERPARTITION";
    private const string ArraysPerCore = "512";

    /// <summary>Call it before anything rents an array. If the environment sets the variable, that value
    /// stays.</summary>
    public static void Enlarge()
    {
        if (Environment.GetEnvironmentVariable(Variable) is null)
            Environment.SetEnvironmentVariable(Variable, ArraysPerCore);
    }
}
