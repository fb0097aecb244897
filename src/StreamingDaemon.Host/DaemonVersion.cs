using System.Reflection;

namespace StreamingDaemon.Host;

/// <summary>The version from the project file, and the commit that was built.</summary>
internal static class DaemonVersion
{
    private static readonly Assembly s_assembly = typeof(DaemonVersion).Assembly;

    public static string Text { get; } =
        s_assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion;

    /// <summary>The commit, 40 hexadecimal digits; or "unknown", if it was built outside of a
    /// clone.</summary>
    public static string Revision { get; } = s_assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(data => data.Key == "SourceRevisionId").Value!;
}
