using System.Diagnostics;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Small C programs for these tests, compiled when a test needs them.</summary>
internal static class CTool
{
    public static string Compile(TempDirectory directory, string name, params string[] options)
    {
        var output = directory.File(name);
        using var compiler = Process.Start("gcc",
            ["-Wall", "-Werror", .. options, "-o", output, Path.Combine(AppContext.BaseDirectory, name + ".c")]);
        compiler.WaitForExit();
        Assert.Equal(0, compiler.ExitCode);
        return output;
    }
}
