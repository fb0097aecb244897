using System.Reflection;

namespace StreamingDaemon.Host;

/// <summary>The version, as the project file has it.</summary>
internal static class DaemonVersion
{
    public static string Text { get; } = typeof(DaemonVersion).Assembly
        .GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion;
}
