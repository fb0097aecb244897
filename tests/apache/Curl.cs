using System.Diagnostics;

namespace StreamingDaemon.ApacheTests;

internal static class Curl
{
    private static readonly string[] s_always = ["-sS", "--no-buffer", "--noproxy", "*", "--max-time", "30"];

    public static ChildProcess Start(params string[] arguments) => new(Tools.Curl, [.. s_always, .. arguments]);

    /// <summary>The answer; fails if curl reports an error.</summary>
    public static string Run(params string[] arguments)
    {
        using var curl = Start(arguments);
        curl.WaitForExit(Wait.Limit * 2);
        Assert.True(curl.ExitCode == 0, $"curl ended with {curl.ExitCode}:\n{curl.Output}");
        return curl.Output;
    }

    /// <summary>All at once, each into a file: reading a pipe would take a pool thread each.</summary>
    public static List<string> RunConcurrently(int count, string directory, string url)
    {
        Directory.CreateDirectory(directory);
        List<Process> running = [];
        for (int number = 0; number < count; number++)
        {
            string file = Path.Combine(directory, $"{number}");
            running.Add(Process.Start(Tools.Curl, [.. s_always, "--stderr", file, "-o", file, url]));
        }
        foreach (var curl in running)
        {
            Assert.True(curl.WaitForExit(Wait.Limit * 2), "A curl does not end.");
            curl.Dispose();
        }
        return [.. Enumerable.Range(0, count).Select(number =>
            File.ReadAllText(Path.Combine(directory, $"{number}")))];
    }

    public static int Status(params string[] arguments) =>
        int.Parse(Run([.. arguments, "-o", "/dev/null", "-w", "%{http_code}"]).Trim());
}
